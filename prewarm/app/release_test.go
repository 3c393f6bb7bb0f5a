package app

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/prewarm/controller"
)

func TestReleaseRefusesWhatItDoesNotUnderstand(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{name: "neither a name nor all", want: "either the NAME"},
		{name: "both", args: []string{"llama", "--all"}, want: "either the NAME"},
		{name: "two names", args: []string{"llama", "vision"}, want: "at most 1 arg"},
		{name: "an output that there is not", args: []string{"--all", "-o", "yaml"}, want: `"yaml" is not one of text, json`},
		{name: "no such kubeconfig", args: []string{"--all", "--kubeconfig", "/does/not/exist"}, want: "kubeconfig"},
	} {
		t.Run(test.name, func(t *testing.T) {
			command := NewReleaseCommand()
			var out bytes.Buffer
			command.SetOut(&out)
			command.SetErr(&out)
			command.SetArgs(test.args)
			if err := command.Execute(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestReleaseSaysWhatItGaveBack(t *testing.T) {
	eight, three := int32(8), int32(3)
	var out bytes.Buffer
	err := printReleased(&out, []controller.Released{
		{Kind: "HorizontalPodAutoscaler", Namespace: "inference", Name: "llama", From: &eight, To: &three, Note: "minReplicas is the owner's again"},
		{Kind: "ScaledObject", Namespace: "inference", Name: "vision", From: &eight, Note: "minReplicaCount is the owner's again"},
		{Kind: "Headroom", Namespace: "inference", Name: "llama", Note: "the finalizer is taken away"},
	}, true, true)
	if err != nil {
		t.Fatal(err)
	}
	want := `NAMESPACE   OBJECT                          MINIMUM   NOW        WHAT
inference   HorizontalPodAutoscaler/llama   8         3          minReplicas is the owner's again
inference   ScaledObject/vision             8         left out   minReplicaCount is the owner's again
inference   Headroom/llama                                       the finalizer is taken away

A dry run: nothing was changed.
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
	out.Reset()
	if err := printReleased(&out, nil, false, true); err != nil || !strings.Contains(out.String(), "nothing to give back") {
		t.Errorf("%q %v", out.String(), err)
	}
}
