package controller

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/types"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
)

// UserMinAnnotation keeps what the owner of an autoscaler wants its minimum to be while Headroom holds it higher.
const UserMinAnnotation = v1alpha1.Group + "/user-min-replicas"

// claim is that annotation, as JSON. It is written in the same request as the minimum, so that no moment exists in which one
// could be read without the other.
type claim struct {
	// User is the owner's minimum; null where the owner left the field out.
	User *int32 `json:"user"`
	// Held is what Headroom wrote. Another value on the object is somebody else's.
	Held int32 `json:"held"`
	// By is the name of the Headroom, in the same namespace.
	By string `json:"by"`
	// UID is that of the object. A copy of the annotation on another object, such as a re-created one, says nothing.
	UID types.UID `json:"uid"`
	// Manifest is the minimum in kubectl's last-applied-configuration when Held was written. A client-side apply of a manifest
	// that says what is held already changes nothing but this.
	Manifest *int32 `json:"manifest,omitempty"`
}

func (c claim) String() string {
	text, err := json.Marshal(c)
	if err != nil {
		panic(err) // a struct of numbers and strings
	}
	return string(text)
}

// bounds are an autoscaler's limits as they stand, with what tells whose its minimum is.
type bounds struct {
	namespace, name string
	uid             types.UID
	version         string // resource version

	min *int32 // nil: left out
	max int32

	annotation string
	annotated  bool
	manifest   *int32 // in kubectl's last-applied-configuration
	ours       bool   // the field manager headroom owns the minimum
	others     string // another field manager that owns it; "" for none
}

// ownership is whose a minimum is.
type ownership struct {
	user    *int32 // what the owner wants; nil where the owner left the field out
	held    bool   // what stands was written by Headroom
	putBack bool   // the owner's value stands again where Headroom had written another
	claim   *claim // what the annotation says, where it is this object's
}

// by says whether the object is free to be held by a Headroom, or is held by it already.
func (o ownership) by(name string) bool { return o.claim == nil || o.claim.By == name }

// owner reads whose the minimum is. known is what the Headroom's status says, for when the annotation was removed.
//
// A value that Headroom did not write is the owner's. One that it did write is the owner's too where the owner wrote the same:
// a server-side apply shows as a second manager of the field, a client-side apply only in what kubectl remembers of it. What
// cannot be seen is an update to the very value that stands, since an update that changes nothing leaves no trace.
func (b bounds) owner(known *v1alpha1.ActuationStatus) ownership {
	var c claim
	if !b.annotated || json.Unmarshal([]byte(b.annotation), &c) != nil || c.UID != b.uid {
		lost := b.ours && b.others == "" && known != nil && known.Object == b.name && holds(known.Mode) && same(known.AppliedMinReplicas, b.min)
		if lost {
			return ownership{user: known.UserMinReplicas, held: true}
		}
		return ownership{user: b.min}
	}
	o := ownership{user: c.User, claim: &c}
	switch {
	case b.min == nil || *b.min != c.Held:
		o.user, o.putBack = b.min, same(b.min, c.User)
	case b.others != "", b.manifest != nil && *b.manifest == c.Held && !same(b.manifest, c.Manifest):
		o.user, o.held = b.min, true
	default:
		o.held = true
	}
	return o
}

// plan is what is to stand.
type plan struct {
	claim claim
	write bool // what stands is not that
}

// plan bounds what is wanted by the owner's minimum and the object's maximum. Without leave to lower, what Headroom has written
// stays at least as it is.
func (b bounds) plan(k kind, by string, w Wanted, o ownership) plan {
	target := max(w.Floor, k.effective(o.user), 0)
	if o.held && !w.MayLower {
		target = max(target, k.effective(b.min))
	}
	target = min(target, b.max)
	p := plan{claim: claim{User: o.user, Held: target, By: by, UID: b.uid, Manifest: b.manifest}}
	switch {
	case k.effective(b.min) != target:
		p.write = true
	case b.annotated:
		p.write = b.annotation != p.claim.String()
	default:
		p.write = o.held // the annotation was removed
	}
	return p
}

func same(a, b *int32) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
