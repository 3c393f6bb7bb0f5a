package nvml

import (
	"strconv"
	"strings"
)

// minMIGDriver is the first driver branch whose GPM on MIG is trusted: with 535.129.03, nvmlGpmMigSampleGet has been reported to make
// memory information of MIG devices fail until the process ends. One report only, so it can be overruled.
const minMIGDriver = 550

// branch is the first number of a driver version: 535 of "535.129.03". 0 when it is none.
func branch(version string) int {
	first, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(first)
	if err != nil || n < 0 {
		return 0
	}
	return n
}
