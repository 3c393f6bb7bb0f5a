// Package manifest reads what people write: a Headroom object and a HorizontalPodAutoscaler, as the values that the pure
// packages prewarm and prewarm/hpa take. The controller, the replay and "headroom check" read them here, so that a manifest
// means the same in all three.
package manifest
