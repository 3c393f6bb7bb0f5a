// Package metricsapi serves custom.metrics.k8s.io and external.metrics.k8s.io from the store.
//
// An answer costs a few map look-ups: pods from the informer's index, values from the collector's tables. What has no
// value is a not-found error that says what is missing and since when, which freezes the HPA's scale-down and lets its
// other metrics scale up. Inside an answer for many pods, those without a value are left out, or, with `partial: Fail`,
// fail the answer; either way they are counted, because the HPA counts a missing pod as zero on the way up.
//
// Metrics that Headroom itself makes come from Own and from no rule; see prewarm/controller.
//
// Traps of sigs.k8s.io/custom-metrics-apiserver and what became of them:
//
//   - its RESTMapper is never refreshed: not used, adapter/kubernetes keeps its own;
//   - it lists objects at kube-apiserver on every request for many: not used, pods come from the informer;
//   - a bad metricLabelSelector is a 500: Handler answers 400 before the library sees it;
//   - its groups are missing in aggregated discovery, so that kubectl api-resources shows nothing: Discovery adds them;
//   - discovery is fetched five times every 30 s by every kube-apiserver, and a long list takes the APIService down:
//     the list holds what is wanted, at most MaxListed names;
//   - SubjectAccessReview answers are cached for 10 s, which is less than the HPA's period: the app raises it;
//   - its own client is limited to 5 requests/s: the app gives it another limit, and no answer uses it;
//   - only v1beta1 stands in its APIGroup document: kube-apiserver asks each version by its APIService, and aggregated
//     discovery lists both;
//   - the whole handler chain runs for every request: it is nearly all that an answer costs (bench/load compares with an
//     empty provider), and authentication, authorization and audit are worth that;
//   - it makes itself a serving certificate when it is given none: the documented installation gives it one;
//   - no paging, no watch, no tables: the HPA uses none of them, and kubectl get --raw shows the JSON.
package metricsapi
