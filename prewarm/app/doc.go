// Package app holds the commands that people run about Headroom objects: explain says why, release gives back what Headroom
// holds. They are also kubectl plugins: the same program named kubectl-headroom.
package app
