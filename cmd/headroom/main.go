// Command headroom is the one binary of Headroom's control side: "headroom serve" in the cluster, the other commands in a shell.
package main

func main() {}
