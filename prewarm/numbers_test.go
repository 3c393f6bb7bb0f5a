package prewarm

import "math"

var nan = math.NaN()
