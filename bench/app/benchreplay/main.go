// Command benchreplay writes the scoreboard of the replay: over a folder of traces, or over the seeded generators.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/headroom-autoscaler/headroom/bench/app"
)

func main() {
	dir := flag.String("traces", "", "folder of traces (*.csv, *.csv.gz); the seeded generators if empty")
	out := flag.String("out", "", "file to write; standard output if empty")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var page bytes.Buffer
	err := app.Scoreboard(ctx, *dir, &page, os.Stderr)
	if err == nil && *out == "" {
		_, err = os.Stdout.Write(page.Bytes())
	} else if err == nil {
		err = os.WriteFile(*out, page.Bytes(), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchreplay:", err)
		os.Exit(1)
	}
}
