// Package arch holds the rules of who may import whom, and the test that is their judge.
package arch
