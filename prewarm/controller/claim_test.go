package controller

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
)

func annotation(user *int32, held int32) string {
	return claim{User: user, Held: held, By: "llm", UID: "one"}.String()
}

func TestWhoseTheMinimumIs(t *testing.T) {
	known := &v1alpha1.ActuationStatus{Mode: v1alpha1.ActuateMinReplicas, Object: "llm", UserMinReplicas: new(int32(3)), AppliedMinReplicas: new(int32(12))}
	for _, test := range []struct {
		name    string
		bounds  bounds
		known   *v1alpha1.ActuationStatus
		user    *int32
		held    bool
		putBack bool
	}{
		{name: "never touched", bounds: bounds{min: new(int32(3))}, user: new(int32(3))},
		{name: "left out by the owner", bounds: bounds{}, user: nil},
		{name: "held", bounds: bounds{min: new(int32(12)), annotation: annotation(new(int32(3)), 12), ours: true}, user: new(int32(3)), held: true},
		{name: "held where the owner left it out", bounds: bounds{min: new(int32(12)), annotation: annotation(nil, 12), ours: true}, user: nil, held: true},
		{name: "the owner's value was put back", bounds: bounds{min: new(int32(3)), annotation: annotation(new(int32(3)), 12)}, user: new(int32(3)), putBack: true},
		{name: "left out again", bounds: bounds{annotation: annotation(nil, 12)}, user: nil, putBack: true},
		{name: "the owner wants another", bounds: bounds{min: new(int32(5)), annotation: annotation(new(int32(3)), 12)}, user: new(int32(5))},
		{name: "the owner wants more than is held", bounds: bounds{min: new(int32(20)), annotation: annotation(new(int32(3)), 12)}, user: new(int32(20))},
		{name: "server-side apply of what is held", bounds: bounds{min: new(int32(12)), annotation: annotation(new(int32(3)), 12), ours: true, others: "kubectl"}, user: new(int32(12)), held: true},
		{
			name:   "client-side apply of what is held",
			bounds: bounds{min: new(int32(12)), annotation: annotation(new(int32(3)), 12), ours: true, manifest: new(int32(12))}, user: new(int32(12)), held: true,
		},
		{
			name:   "the manifest said that all along and was edited since",
			bounds: bounds{min: new(int32(12)), annotation: claim{User: new(int32(3)), Held: 12, By: "llm", UID: "one", Manifest: new(int32(12))}.String(), manifest: new(int32(12))},
			user:   new(int32(3)), held: true,
		},
		{name: "copied from another object", bounds: bounds{min: new(int32(12)), annotation: claim{User: new(int32(3)), Held: 12, By: "llm", UID: "another"}.String()}, user: new(int32(12))},
		{name: "an annotation that says nothing", bounds: bounds{min: new(int32(12)), annotation: "3"}, user: new(int32(12))},
		{name: "the annotation was removed", bounds: bounds{min: new(int32(12)), ours: true}, known: known, user: new(int32(3)), held: true},
		{name: "the annotation was removed and nothing is known", bounds: bounds{min: new(int32(12)), ours: true}, user: new(int32(12))},
		{name: "the annotation was removed and the value is not ours", bounds: bounds{min: new(int32(12))}, known: known, user: new(int32(12))},
		{name: "the annotation was removed and the owner says so too", bounds: bounds{min: new(int32(12)), ours: true, others: "helm"}, known: known, user: new(int32(12))},
		{name: "the annotation was removed with another value", bounds: bounds{min: new(int32(4)), ours: true}, known: known, user: new(int32(4))},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := test.bounds
			b.uid, b.name, b.annotated = "one", "llm", b.annotation != ""
			got := b.owner(test.known)
			if !same(got.user, test.user) || got.held != test.held || got.putBack != test.putBack {
				t.Errorf("user %v held %v put back %v, want %v %v %v", show(got.user), got.held, got.putBack, show(test.user), test.held, test.putBack)
			}
		})
	}
}

func show(v *int32) any {
	if v == nil {
		return nil
	}
	return *v
}

func TestWhatIsToStand(t *testing.T) {
	for _, test := range []struct {
		name   string
		kind   kind
		bounds bounds
		want   Wanted
		target int32
		write  bool
	}{
		{name: "raised", kind: hpaKind, bounds: bounds{min: new(int32(3)), max: 40}, want: Wanted{Floor: 12, MayLower: true}, target: 12, write: true},
		{name: "raised though demand is unknown", kind: hpaKind, bounds: bounds{min: new(int32(3)), max: 40}, want: Wanted{Floor: 12}, target: 12, write: true},
		{name: "nothing to raise and never touched", kind: hpaKind, bounds: bounds{min: new(int32(3)), max: 40}, want: Wanted{Floor: 2, MayLower: true}, target: 3},
		{name: "the maximum bounds it", kind: hpaKind, bounds: bounds{min: new(int32(3)), max: 10}, want: Wanted{Floor: 12, MayLower: true}, target: 10, write: true},
		{name: "as it is", kind: hpaKind, bounds: bounds{min: new(int32(12)), max: 40, annotation: annotation(new(int32(3)), 12)}, want: Wanted{Floor: 12, MayLower: true}, target: 12},
		{name: "lowered", kind: hpaKind, bounds: bounds{min: new(int32(12)), max: 40, annotation: annotation(new(int32(3)), 12)}, want: Wanted{Floor: 8, MayLower: true}, target: 8, write: true},
		{name: "not lowered while demand is unknown", kind: hpaKind, bounds: bounds{min: new(int32(12)), max: 40, annotation: annotation(new(int32(3)), 12)}, want: Wanted{Floor: 8}, target: 12},
		{name: "never below the owner's", kind: hpaKind, bounds: bounds{min: new(int32(12)), max: 40, annotation: annotation(new(int32(3)), 12)}, want: Wanted{Floor: 1, MayLower: true}, target: 3, write: true},
		{name: "put back while demand is unknown", kind: hpaKind, bounds: bounds{min: new(int32(3)), max: 40, annotation: annotation(new(int32(3)), 12)}, want: Wanted{Floor: 12}, target: 12, write: true},
		{name: "put back and nothing to raise: the annotation is set right", kind: hpaKind, bounds: bounds{min: new(int32(3)), max: 40, annotation: annotation(new(int32(3)), 12)}, want: Wanted{Floor: 2, MayLower: true}, target: 3, write: true},
		{name: "a copied annotation is set right", kind: hpaKind, bounds: bounds{min: new(int32(3)), max: 40, annotation: "3"}, want: Wanted{Floor: 2, MayLower: true}, target: 3, write: true},
		{name: "an HPA that goes to zero", kind: hpaKind, bounds: bounds{min: new(int32(0)), max: 40}, want: Wanted{Floor: 0, MayLower: true}, target: 0},
		{name: "an HPA that goes to zero is raised", kind: hpaKind, bounds: bounds{min: new(int32(0)), max: 40}, want: Wanted{Floor: 2, MayLower: true}, target: 2, write: true},
		{name: "an HPA that goes to zero is let go again", kind: hpaKind, bounds: bounds{min: new(int32(2)), max: 40, annotation: annotation(new(int32(0)), 2)}, want: Wanted{Floor: 0, MayLower: true}, target: 0, write: true},
		{name: "a ScaledObject without a minimum", kind: scaledObjectKind, bounds: bounds{max: 100}, want: Wanted{Floor: 0, MayLower: true}, target: 0},
		{name: "a ScaledObject without a minimum is raised", kind: scaledObjectKind, bounds: bounds{max: 100}, want: Wanted{Floor: 4, MayLower: true}, target: 4, write: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := test.bounds
			b.uid, b.annotated = "one", b.annotation != ""
			o := b.owner(nil)
			p := b.plan(test.kind, "llm", test.want, o)
			if p.claim.Held != test.target || p.write != test.write {
				t.Errorf("to stand: %d, write %v; want %d, %v", p.claim.Held, p.write, test.target, test.write)
			}
			if !same(p.claim.User, o.user) {
				t.Errorf("the claim keeps %v as the owner's, not %v", show(p.claim.User), show(o.user))
			}
		})
	}
}

// TestNothingIsLostInALife plays owners who write at random beside Headroom, against the plain account of what they wrote last.
func TestNothingIsLostInALife(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		b := bounds{uid: "one", name: "llm", min: new(1 + random.Int32N(4)), max: 4 + random.Int32N(20)}
		owners := b.min
		for range 30 {
			switch random.IntN(4) {
			case 0: // the owner writes a value that is not the one that stands
				value := 1 + random.Int32N(b.max)
				if value == *b.min {
					continue
				}
				b.min, owners, b.ours, b.others = &value, &value, false, "kubectl-edit"
			case 1: // the owner applies a value on the server's side, whatever stands
				value := 1 + random.Int32N(b.max)
				b.ours, b.others = b.ours && value == *b.min, "kubectl"
				b.min, owners = &value, &value
			default:
				w := Wanted{Floor: random.Int32N(30), MayLower: random.IntN(2) == 0}
				o := b.owner(nil)
				if !same(o.user, owners) {
					t.Fatalf("the owner wrote %d, Headroom reads %d from %+v", *owners, *o.user, b)
				}
				p := b.plan(hpaKind, "llm", w, o)
				stood := *b.min
				if p.write {
					if p.claim.Held != stood {
						b.others = "" // forced
					}
					held := p.claim.Held
					b.min, b.annotation, b.annotated, b.ours = &held, p.claim.String(), true, true
				}
				switch {
				case *b.min > b.max || *b.min < *owners:
					t.Fatalf("%d stands, outside %d..%d", *b.min, *owners, b.max)
				case o.held && !w.MayLower && *b.min < stood:
					t.Fatalf("lowered from %d to %d without leave", stood, *b.min)
				case *b.min < min(w.Floor, b.max):
					t.Fatalf("%d stands, below the floor %d", *b.min, w.Floor)
				}
				if again := b.plan(hpaKind, "llm", w, b.owner(nil)); again.write {
					t.Fatalf("a second look would write again: %s → %s", b.annotation, cmp.Diff(p.claim, again.claim))
				}
			}
		}
	}
}

func FuzzAnAnnotationNeverLowersTheOwnersMinimum(f *testing.F) {
	f.Add(annotation(new(int32(3)), 12), int32(12), int32(5))
	f.Add(`{"user":null,"held":-1,"uid":"one"}`, int32(0), int32(7))
	f.Add("3", int32(3), int32(0))
	f.Fuzz(func(t *testing.T, text string, min, floor int32) {
		if min < 0 {
			t.Skip("the API server refuses it")
		}
		b := bounds{uid: "one", min: &min, max: max(min, 1), annotation: text, annotated: true}
		o := b.owner(nil)
		p := b.plan(hpaKind, "llm", Wanted{Floor: floor, MayLower: true}, o)
		if p.claim.Held < 0 || p.claim.Held > b.max {
			t.Errorf("%d would stand, outside 0..%d", p.claim.Held, b.max)
		}
		if !o.held && p.claim.Held < min {
			t.Errorf("the owner's %d would be lowered to %d", min, p.claim.Held)
		}
	})
}
