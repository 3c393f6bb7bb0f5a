package dcgm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Profile is what a MIG device's name says: "1g.10gb", "1c.3g.40gb", "1g.10gb+me", "1g.24gb+me.all", "1g.24gb-me".
type Profile struct {
	ComputeSlices int // of the compute instance; equal to GPUSlices when it has the GPU instance to itself
	GPUSlices     int // of the GPU instance
	MemoryGB      int // in the name only, rounded by NVIDIA; real bytes come from the driver
	// Attributes are media and graphics engines with their sign, such as "+me", "+gfx", "-me", sorted.
	Attributes string
}

// attributes are what NVIDIA adds to a profile's name, longest first.
var attributes = []string{"me.all", "gfx", "me"}

// ParseProfile reads a profile as nvidia-smi, NVML, dcgm-exporter and nvidia.com/mig-… resources write it.
// A resource name has a dot for the plus sign ("1g.10gb.me"), since Kubernetes allows none.
func ParseProfile(text string) (Profile, error) {
	fail := func(why string) (Profile, error) { return Profile{}, fmt.Errorf("MIG profile %q: %s", text, why) }
	rest := strings.TrimPrefix(text, "MIG ") // NVML's own name for it
	first, rest, ok := countOf(rest, 'c', 'g')
	if !ok {
		return fail(`want a number of slices and "g", such as 1g.10gb`)
	}
	p := Profile{ComputeSlices: first.count, GPUSlices: first.count}
	if first.unit == 'c' {
		second, after, ok := countOf(strings.TrimPrefix(rest, "."), 'g')
		if !ok || !strings.HasPrefix(rest, ".") {
			return fail(`after "c." want the GPU instance's slices, such as 1c.3g.40gb`)
		}
		p.GPUSlices, rest = second.count, after
	}
	if p.ComputeSlices < 1 || p.GPUSlices > 8 || p.ComputeSlices > p.GPUSlices {
		return fail("a GPU instance has 1 to 8 slices, a compute instance no more than that")
	}
	memory, rest, found := strings.Cut(strings.TrimPrefix(rest, "."), "gb")
	gb, isNumber := number(memory)
	if !found || !isNumber || gb == 0 {
		return fail(`want memory in whole "gb"`)
	}
	p.MemoryGB = gb
	p.Attributes, ok = attributesOf(rest)
	if !ok {
		return fail("after the memory, want +me, +me.all, +gfx or -me")
	}
	return p, nil
}

// counted is a number with a one-letter unit.
type counted struct {
	count int
	unit  byte
}

func countOf(text string, units ...byte) (counted, string, bool) {
	at := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if at < 1 || !slices.Contains(units, text[at]) {
		return counted{}, "", false
	}
	n, ok := number(text[:at])
	return counted{n, text[at]}, text[at+1:], ok
}

// attributesOf reads "+me", ".me", "-me", "+me,gfx", "+gfx+me" and so on.
func attributesOf(text string) (string, bool) {
	var found []string
	sign := ""
	for text != "" {
		switch text[0] {
		case '+', '.':
			sign = "+"
		case '-':
			sign = "-"
		case ',':
			if sign == "" {
				return "", false
			}
		default:
			return "", false
		}
		text = text[1:]
		at := slices.IndexFunc(attributes, func(name string) bool { return strings.HasPrefix(text, name) })
		if at < 0 {
			return "", false
		}
		text = text[len(attributes[at]):]
		if slices.Contains(found, sign+attributes[at]) {
			return "", false
		}
		found = append(found, sign+attributes[at])
	}
	slices.Sort(found)
	return strings.Join(found, ""), true
}

// String is the name as NVIDIA writes it; the compute part is named only where it is smaller than the GPU instance.
func (p Profile) String() string {
	if p.GPUSlices == 0 {
		return ""
	}
	name := strconv.Itoa(p.GPUSlices) + "g." + strconv.Itoa(p.MemoryGB) + "gb"
	if p.ComputeSlices != p.GPUSlices {
		name = strconv.Itoa(p.ComputeSlices) + "c." + name
	}
	return name + p.Attributes
}

// Resource is the extended resource of the device plugin's mixed strategy: "nvidia.com/mig-1g.10gb.me".
func (p Profile) Resource() string {
	return "nvidia.com/mig-" + strings.ReplaceAll(p.String(), "+", ".")
}

func (p Profile) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func (p *Profile) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*p = Profile{}
		return nil
	}
	*p, err = ParseProfile(string(text))
	return err
}
