// Command cluster compiles and runs a real Kubernetes control plane on loopback: etcd, kube-apiserver,
// kube-controller-manager and kube-scheduler from their Go modules, and kwok for nodes that are not there.
//
//	cluster build [--cache DIR] [--only NAME,…]   compile what is missing; prints the folder of the binaries
//	cluster up --dir DIR                          run until interrupted or until standard input ends
//
// up prints one line of JSON, with everything a client needs, once the control plane is ready, and stops all it started
// when it is told to, when its standard input is closed, or when one of its children ends by itself. A parent that is
// killed takes everything with it.
//
// It is a program and not a package, because its module may not be required by the root one: whoever wants a cluster
// runs it and reads that line (test/testbed does).
package main
