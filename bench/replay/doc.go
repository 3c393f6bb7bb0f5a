// Package replay answers, for one stretch of traffic, what would have happened: with the HPA alone, with N+2, with the
// calendar alone, with a forecast. It is pure: traffic, manifests as values and a seed go in, a Result comes out, and the
// same input gives the same Result bit for bit.
//
// # One step
//
// Time goes in steps of 15 s, the HPA's period. At step k, which is the moment k·15 s:
//
//	pods begun a lead time ago become Ready; a GPU that is free goes to the pod that has waited longest; a pod may fail
//	demand is read: the mean of what was offered over Signal.Window, up to Signal.Delay ago       (nothing newer is known)
//	the policy's floor, from that demand, a forecast made from complete bins alone, and the calendar (floor.go)
//	the HPA of 1.37 with its metrics, tolerance, windows and rates                               (prewarm/hpa)
//	its replicas: pods are created, or deleted: first those without a GPU, then the youngest that load, then Ready ones
//
// and over [k·15 s, (k+1)·15 s) the Ready pods carry up to PerReplica each of what is offered.
//
// # What is counted
//
//   - Late work, the headline: Σ max(0, offered − ready × perReplica) Δt, nothing carried over; as a share of Σ offered Δt.
//   - Cost: pod-hours from creation to deletion, pods that load or wait for a GPU included.
//   - Under-provisioned minutes: minutes with any shortfall in any of their steps.
//   - Waits, and work that is lost: from a queue in front of the replicas (queue.go), first come first served, in which who would
//     wait longer than Patience goes away. It is beside the headline and does not change it.
//
// Steps in which the offered load is unknown count for cost alone: the policies live through them, with unknown demand.
// Nothing before Scenario.ScoreFrom counts.
//
// # What keeps it honest
//
// Every pod created is deleted or there at the end, and all offered work is carried in time or late; in the queue, all that
// arrived was served, is waiting or is lost. Run checks these sums and gives an error when they do not hold. The floor that
// sweeps use (swept) is compared with prewarm.Decide in a test, and the loop itself with a slow obvious one.
//
// # What is not here
//
// The load is what the trace says whatever the replicas do: nobody retries and nobody stays away. Replicas are alike. A
// deleted pod is gone at once; its grace period is neither paid for nor used. A minute's load is even within the minute.
package replay
