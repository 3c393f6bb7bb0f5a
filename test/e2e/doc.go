// Package e2e tells the product's story on a real control plane: the real HPA controller asks our API server through the
// real aggregation layer, over a real Prometheus. Only the pods and the GPUs are simulated.
//
// Time is compressed: the HPA controller looks every two seconds, samples are stale after eight, and a scale-down waits
// six. One cluster serves all tests; a test that harms something brings its own Prometheus or puts back what it broke.
//
// They run with "make e2e", not with "go test ./...": HEADROOM_E2E=1 says that compiling a control plane is all right.
package e2e
