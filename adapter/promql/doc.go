// Package promql keeps a person's query inside the namespace of the object that it came with.
//
// A Headroom object may measure demand by raw PromQL, and who may write such an object in one namespace must not read the
// metrics of another: a backend that all tenants share does not know who asks. So Confine adds a matcher for the
// namespace to every selector of the query, and refuses what reaches further in time or does more work than demand needs.
//
// The query is read by Prometheus' own parser and the answer is printed from what it read. Nothing is left of the text
// that a person wrote, and so no way for a backend to read it differently from the parser: dialects that know more
// (MetricsQL's WITH, or its "or" between matchers) are refused as errors of syntax. Matchers are ANDed, so that a matcher
// for another namespace selects nothing, and nothing that a query does with what it has selected can bring in more.
// The one function that selects by itself, info, is experimental and the parser does not know it.
package promql
