// Package v1alpha1 is the Headroom resource: the words in which a platform engineer says how many pods of a workload should
// be ready before the load arrives, and in which Headroom answers what it decided and why.
//
// It imports apimachinery alone, so that other programs can use the types without linking anything of Headroom. Defaults and
// what a Headroom may say (CEL) are markers on the fields; "make generate" writes the CustomResourceDefinition and the deep
// copies from them, and a test fails when they are not what the markers say.
//
// Amounts of demand are Quantities in the demand metric's own unit ("12" or "500m" requests per second). Durations are Go's
// ("4m30s"). A field that is left out and has no default means what its comment says of it, never zero by accident.
//
// +kubebuilder:object:generate=true
// +groupName=headroom.dev
package v1alpha1
