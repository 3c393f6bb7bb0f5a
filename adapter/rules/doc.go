// Package rules is the rule language: it reads a prometheus-adapter
// configuration unchanged, adds backends and presets to it, and turns "which
// value does this object have" into PromQL.
package rules
