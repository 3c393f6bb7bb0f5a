// Package kubernetes is the edge to kube-apiserver: which pods there are, what the HorizontalPodAutoscalers ask for, and
// how the cluster names its resources.
//
// Everything is watched, nothing is asked per request: an answer to an HPA costs no call to kube-apiserver. Objects are
// stripped on arrival to the fields that someone reads, so that a pod costs about two kilobytes instead of twenty.
//
// There is one pod informer for the whole process. It keeps what later readers need (owner, node, conditions with their
// times) and no more.
package kubernetes
