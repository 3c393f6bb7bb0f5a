package prewarm_test

import (
	"fmt"
	"time"

	"github.com/headroom-autoscaler/headroom/prewarm"
)

// Pods take four minutes, so the floor rises four minutes before the window opens, ramp and all.
func ExampleCalendar_FloorAt() {
	calendar, err := prewarm.NewCalendar("Asia/Ho_Chi_Minh", []prewarm.Window{
		{Name: "office", Schedule: "30 8 * * 1-5", Duration: 9*time.Hour + 30*time.Minute, Replicas: 12, Ramp: 10 * time.Minute},
	}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	hoChiMinh := time.FixedZone("+07", 7*60*60)
	for _, minute := range []int{16, 17, 21, 26, 30} {
		now := time.Date(2026, 12, 1, 8, minute, 0, 0, hoChiMinh)
		fmt.Printf("%s  %d\n", now.Format("15:04"), calendar.FloorAt(now, 4*time.Minute).Replicas)
	}
	// Output:
	// 08:16  0
	// 08:17  2
	// 08:21  6
	// 08:26  12
	// 08:30  12
}

// The clocks of Berlin go forward on 29 March 2026: a start in the hour that they skip happens as they skip it.
func ExampleCalendar_Openings() {
	calendar, err := prewarm.NewCalendar("Europe/Berlin", []prewarm.Window{
		{Name: "nightly", Schedule: "30 2 * * *", Duration: time.Hour, Replicas: 4},
	}, []string{"2026-03-30"})
	if err != nil {
		fmt.Println(err)
		return
	}
	from := time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC)
	for opening := range calendar.Openings(from, from.AddDate(0, 0, 4)) {
		fmt.Println(opening.Window, opening.Start.Format("Mon 02 Jan 15:04 MST"), "to", opening.End.Format("15:04"))
	}
	// Output:
	// nightly Sat 28 Mar 02:30 CET to 03:30
	// nightly Sun 29 Mar 03:00 CEST to 04:00
	// nightly Tue 31 Mar 02:30 CEST to 03:30
}
