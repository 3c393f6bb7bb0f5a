// Package hpa holds no code: its tests compare prewarm/hpa with the HPA controller of Kubernetes, on random states.
//
//   - TestCalculators: one metric, one state, against NewReplicaCalculator.
//   - TestController: an HPA's life over many syncs, against NewHorizontalController itself. It runs whole, on a clock that the
//     test moves (testing/synctest), with listers and clients of the test's own: recommendations, scaling events, conditions and
//     writes are the controller's.
//   - TestTimelines: the text files of prewarm/hpa/testdata, played by that same controller.
//   - TestValidationRefusesWhatTheAPIServerRefuses: the spec's validation against the API server's.
//
// Every failure prints the seed that makes it again; HPA_SEED and HPA_CASES choose others.
package hpa
