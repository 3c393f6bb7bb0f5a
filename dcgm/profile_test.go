package dcgm

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProfiles(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       Profile
		written    string // as String writes it, when not as text
	}{
		{"an A100's smallest", "1g.5gb", Profile{1, 1, 5, ""}, ""},
		{"a compute instance of a third", "1c.3g.40gb", Profile{1, 3, 40, ""}, ""},
		{"a compute instance as large as its GPU instance", "3c.3g.40gb", Profile{3, 3, 40, ""}, "3g.40gb"},
		{"with media engines", "1g.10gb+me", Profile{1, 1, 10, "+me"}, ""},
		{"with all media engines", "1g.24gb+me.all", Profile{1, 1, 24, "+me.all"}, ""},
		{"without media engines", "1g.24gb-me", Profile{1, 1, 24, "-me"}, ""},
		{"with graphics", "4g.96gb+gfx", Profile{4, 4, 96, "+gfx"}, ""},
		{"with two, as a list", "1g.24gb+me,gfx", Profile{1, 1, 24, "+gfx+me"}, "1g.24gb+gfx+me"},
		{"as a resource", "1g.10gb.me", Profile{1, 1, 10, "+me"}, "1g.10gb+me"},
		{"as NVML names it", "MIG 7g.141gb", Profile{7, 7, 141, ""}, "7g.141gb"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseProfile(test.text)
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Error(err, diff)
			}
			written := test.written
			if written == "" {
				written = test.text
			}
			if got.String() != written {
				t.Errorf("written as %q, want %q", got, written)
			}
		})
	}
	for _, bad := range []string{"", "1g", "1g.", "1g.gb", "g.10gb", "0g.10gb", "9g.10gb", "4c.3g.40gb", "1c3g.40gb", "1g.010gb", "1g.10gb+", "1g.10gb+me+me", "1g.10gb,me", "1g.10gb+video", "1g.10gbme", "-1g.10gb"} {
		if got, err := ParseProfile(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
	if got := (Profile{1, 1, 10, "+me"}).Resource(); got != "nvidia.com/mig-1g.10gb.me" {
		t.Errorf("resource %q", got)
	}
}

func FuzzProfile(f *testing.F) {
	for _, seed := range []string{"1g.5gb", "1c.3g.40gb", "1g.24gb+me.all", "1g.24gb+me,gfx", "MIG 1g.10gb.me", "1g.24gb-me"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParseProfile(text)
		if err != nil {
			if p != (Profile{}) {
				t.Errorf("%q: an error and %+v", text, p)
			}
			return
		}
		again, err := ParseProfile(p.String())
		if err != nil || again != p {
			t.Errorf("%q is %+v, written %q and read as %+v, %v", text, p, p, again, err)
		}
		if p.ComputeSlices < 1 || p.ComputeSlices > p.GPUSlices || p.GPUSlices > 8 || p.MemoryGB < 1 {
			t.Errorf("%q is %+v", text, p)
		}
	})
}

func TestWeightsOfKnownModels(t *testing.T) {
	for _, test := range []struct {
		gpu, profile string
		want         Weights
	}{
		{"NVIDIA H100 80GB HBM3", "1g.10gb", Weights{16.0 / 132, 1.0 / 8}}, // not 1/7
		{"NVIDIA H100 80GB HBM3", "1g.20gb", Weights{26.0 / 132, 2.0 / 8}},
		{"NVIDIA H100 80GB HBM3", "3g.40gb", Weights{60.0 / 132, 4.0 / 8}}, // not 3/7
		{"NVIDIA H100 80GB HBM3", "7g.80gb", Weights{1, 1}},
		{"NVIDIA H100 NVL", "4g.47gb", Weights{64.0 / 132, 4.0 / 8}},
		{"NVIDIA H200", "2g.35gb", Weights{32.0 / 132, 2.0 / 8}},
		{"NVIDIA H200", "1g.18gb+me", Weights{16.0 / 132, 1.0 / 8}},
		{"NVIDIA A100-SXM4-40GB", "7g.40gb", Weights{1, 1}}, // 98 of the 98 that MIG can give out
		{"NVIDIA A100-SXM4-40GB", "1g.5gb", Weights{14.0 / 98, 1.0 / 8}},
		{"NVIDIA A100 80GB PCIe", "3g.40gb", Weights{42.0 / 98, 4.0 / 8}},
		{"NVIDIA A30", "2g.12gb", Weights{28.0 / 56, 2.0 / 4}},
		{"NVIDIA B200", "1g.23gb", Weights{18.0 / 148, 1.0 / 8}},
		{"NVIDIA B200", "3g.90gb", Weights{0, 4.0 / 8}},              // nobody has published its SMs
		{"NVIDIA H100 80GB HBM3", "1c.3g.40gb", Weights{0, 4.0 / 8}}, // nor those of a part of an instance
		{"NVIDIA H100 80GB HBM3", "1g.11gb", Weights{}},
	} {
		t.Run(test.gpu+" "+test.profile, func(t *testing.T) {
			model, found := ModelOf(test.gpu)
			p, err := ParseProfile(test.profile)
			if !found || err != nil {
				t.Fatal(found, err)
			}
			if diff := cmp.Diff(test.want, model.Weights(p)); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, name := range []string{"NVIDIA H100 PCIe", "NVIDIA GH200 480GB", "NVIDIA GB200", "NVIDIA L4", "Tesla T4", "NVIDIA A100X", "NVIDIA A10", ""} {
		if m, found := ModelOf(name); found {
			t.Errorf("%q is taken for %s", name, m.Name)
		}
	}
}

// TestTablesFit checks that as many slices as are said to fit do fit.
func TestTablesFit(t *testing.T) {
	for _, m := range Models() {
		for _, p := range m.Profiles {
			if p.Max*p.MemorySlices > m.MemorySlices || p.Max*p.SMs > m.MIGSMs || p.Max*p.Profile.GPUSlices > m.InstanceSlices || p.MemorySlices == 0 || p.Max == 0 {
				t.Errorf("%s: %d of %s do not fit", m.Name, p.Max, p.Profile)
			}
			if w := m.Weights(p.Profile); w.Memory == 0 || w.Memory > 1 || w.SM > 1 || (w.SM == 0) != (p.SMs == 0) {
				t.Errorf("%s %s weighs %+v", m.Name, p.Profile, w)
			}
		}
	}
}
