package forecaster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"time"
)

// ErrSnapshot means that bytes are no snapshot of an engine with these options. Start from history instead.
var ErrSnapshot = errors.New("not a snapshot of this engine")

// A snapshot is: magic, version, fingerprint of the options, the state in the order of Engine.walk, and a CRC-32C of all
// before it. Little endian. The version changes whenever walk does.
const (
	snapshotMagic   = "HRFC"
	snapshotVersion = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Snapshot is the engine's state as bytes. Announced events and outside forecasts are not in it: they are told anew.
func (e *Engine) Snapshot() []byte {
	c := &codec{out: make([]byte, 0, 128<<10)}
	c.out = append(c.out, snapshotMagic...)
	c.out = binary.LittleEndian.AppendUint16(c.out, snapshotVersion)
	c.out = binary.LittleEndian.AppendUint32(c.out, e.fingerprint())
	e.walk(c)
	return binary.LittleEndian.AppendUint32(c.out, crc32.Checksum(c.out, castagnoli))
}

// Restore puts the engine where the snapshot was taken. On an error, which wraps ErrSnapshot, nothing has changed.
func (e *Engine) Restore(snapshot []byte) error {
	const head = len(snapshotMagic) + 2 + 4
	refuse := func(why string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrSnapshot, fmt.Sprintf(why, args...))
	}
	if len(snapshot) < head+4 || string(snapshot[:len(snapshotMagic)]) != snapshotMagic {
		return refuse("no snapshot at all")
	}
	body, sum := snapshot[:len(snapshot)-4], binary.LittleEndian.Uint32(snapshot[len(snapshot)-4:])
	if v := binary.LittleEndian.Uint16(snapshot[len(snapshotMagic):]); v != snapshotVersion {
		return refuse("version %d, this is %d", v, snapshotVersion)
	}
	if crc32.Checksum(body, castagnoli) != sum {
		return refuse("checksum does not fit: truncated or damaged")
	}
	fresh, err := New(e.opts)
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(snapshot[len(snapshotMagic)+2:]) != fresh.fingerprint() {
		return refuse("made with other options")
	}
	c := &codec{in: body[head:], reading: true}
	fresh.walk(c)
	if c.failed || len(c.in) != 0 {
		return refuse("length does not fit")
	}
	if !fresh.sound() {
		return refuse("state is not sound")
	}
	fresh.hints = e.hints
	*e = *fresh
	return nil
}

// fingerprint tells apart options under which the state means something else. MaxGrowth and the prior do not count.
func (e *Engine) fingerprint() uint32 {
	c := &codec{}
	step := e.opts.Step
	c.duration(&step)
	for _, l := range e.opts.Leads {
		c.duration(&l)
	}
	c.floats(e.opts.Quantiles)
	c.out = append(c.out, e.opts.Zone.String()...)
	c.out = binary.LittleEndian.AppendUint32(c.out, uint32(e.opts.Without))
	return crc32.Checksum(c.out, castagnoli)
}

// codec writes to out, or reads from in, one and the same sequence of fields.
type codec struct {
	reading bool
	failed  bool
	in, out []byte
}

func (c *codec) word(x uint64) uint64 {
	if !c.reading {
		c.out = binary.LittleEndian.AppendUint64(c.out, x)
		return x
	}
	if len(c.in) < 8 {
		c.failed = true
		return 0
	}
	x = binary.LittleEndian.Uint64(c.in)
	c.in = c.in[8:]
	return x
}

func (c *codec) float(x *float64)          { *x = math.Float64frombits(c.word(math.Float64bits(*x))) }
func (c *codec) int64(x *int64)            { *x = int64(c.word(uint64(*x))) }
func (c *codec) int(x *int)                { *x = int(int64(c.word(uint64(*x)))) }
func (c *codec) duration(x *time.Duration) { *x = time.Duration(c.word(uint64(*x))) }
func (c *codec) mean(m *mean)              { c.float(&m.weight); c.float(&m.value) }

func (c *codec) bool(x *bool) {
	var b uint64
	if *x {
		b = 1
	}
	*x = c.word(b) == 1
}

func (c *codec) floats(x []float64) {
	for i := range x {
		c.float(&x[i])
	}
}

func (c *codec) singles(x []float32) {
	for i := range x {
		if !c.reading {
			c.out = binary.LittleEndian.AppendUint32(c.out, math.Float32bits(x[i]))
			continue
		}
		if len(c.in) < 4 {
			c.failed = true
			return
		}
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(c.in))
		c.in = c.in[4:]
	}
}

func (c *codec) halves(x []half) {
	for i := range x {
		if !c.reading {
			c.out = binary.LittleEndian.AppendUint16(c.out, uint16(x[i]))
			continue
		}
		if len(c.in) < 2 {
			c.failed = true
			return
		}
		x[i] = half(binary.LittleEndian.Uint16(c.in))
		c.in = c.in[2:]
	}
}

// walk visits every field of the state, for writing and for reading alike.
func (e *Engine) walk(c *codec) {
	c.bool(&e.started)
	c.int64(&e.bin)
	c.int64(&e.known)
	c.int(&e.late)
	c.int64(&e.lateAt)
	c.floats(e.recent)
	for i := range e.bound {
		c.bool(&e.bound[i])
	}
	l := &e.level
	c.bool(&l.started)
	for _, x := range []*float64{
		&l.last, &l.half, &l.tenth, &l.e30, &l.e120, &l.e480, &l.winters, &l.ratio, &l.shift, &l.since, &l.sinceN, &l.noise,
		&l.busy, &l.busySize,
	} {
		c.float(x)
	}
	c.mean(&l.rough)
	c.mean(&l.scale)
	c.floats(l.peaks[:])
	c.int64(&l.peakDay)
	c.int(&e.seasons.phase)
	c.halves(e.seasons.week)
	c.singles(e.seasons.shape)
	c.singles(e.seasons.offset)
	for _, h := range e.horizon {
		h.walk(c)
	}
}

func (h *horizon) walk(c *codec) {
	c.mean(&h.rv60)
	c.mean(&h.rv240)
	for k := range h.scales {
		s := &h.scales[k]
		c.mean(&s.fast)
		c.mean(&s.day)
		c.mean(&s.week)
		c.singles(s.byTime[:])
		s.model.walk(c)
	}
	for i := range h.sketches {
		h.sketches[i].walk(c)
	}
	h.ridge.walk(c)
	for _, set := range [][]aggregator{h.first, h.second} {
		for i := range set {
			a := &set[i]
			c.singles(a.regret)
			c.singles(a.square)
			c.singles(a.largest)
			c.singles(a.weight)
		}
	}
	c.mean(&h.spread)
	for i := range h.correction {
		h.correction[i].walk(c)
	}
	h.reference.walk(c)
	r := &h.record
	c.int(&r.labels)
	for j := range r.mine {
		c.mean(&r.mine[j])
		c.mean(&r.theirs[j])
		c.mean(&r.covered[j])
	}
	c.bool(&r.fallback)
	c.int(&h.labels)
	c.int(&h.head)
	c.int(&h.count)
	for i := range h.slots {
		h.slots[i].walk(c)
	}
}

func (s *sketch) walk(c *codec) {
	c.float(&s.total)
	c.float(&s.unit)
	for i := range s.mark {
		c.float(&s.mark[i].above)
		at := int(s.mark[i].at)
		c.int(&at)
		s.mark[i].at = int32(at)
	}
	c.singles(s.cell)
}

func (r *ridge) walk(c *codec) {
	c.int(&r.seen)
	c.floats(r.w)
	c.floats(r.p)
}

func (s *slot) walk(c *codec) {
	c.int64(&s.bin)
	c.bool(&s.usable)
	s.awake = c.word(s.awake)
	c.int(&s.cell)
	c.float(&s.size)
	c.float(&s.middle)
	c.float(&s.unit)
	c.floats(s.point[:])
	c.singles(s.logDay[:])
	for k := range s.own {
		c.singles(s.own[k][:])
	}
	c.singles(s.shared[:])
	c.singles(s.inputs[:])
	c.singles(s.sigma[:])
	refUnit := []float32{s.refUnit}
	c.singles(refUnit)
	s.refUnit = refUnit[0]
	c.singles(s.q)
	c.floats(s.mixed[:])
	c.floats(s.final[:])
	c.floats(s.ref[:])
}

// sound says that what was read can be worked with: indices inside their tables, numbers finite. The checksum keeps out
// accidents; this keeps out anything else.
func (e *Engine) sound() bool {
	l := &e.level
	ok := finite(l.last, l.half, l.tenth, l.e30, l.e120, l.e480, l.winters, l.ratio, l.shift, l.since, l.sinceN, l.noise,
		l.busy, l.busySize, l.rough.value, l.scale.value) && finite(l.peaks[:]...)
	ok = ok && e.seasons.phase >= -1 && e.seasons.phase < len(e.seasons.week)
	for _, h := range e.horizon {
		ok = ok && h.sound()
	}
	return ok
}

func (h *horizon) sound() bool {
	ok := h.head >= 0 && h.head < len(h.slots) && h.count >= 0 && h.count <= len(h.slots) && finite(h.spread.value, h.rv60.value, h.rv240.value)
	for i := range h.slots {
		ok = ok && h.slots[i].cell >= 0 && h.slots[i].cell < timeCells && finite(h.slots[i].point[:]...)
	}
	all := append(slices.Clone(h.sketches[:]), h.reference)
	for _, s := range append(all, h.correction...) {
		ok = ok && finite(s.total, s.unit) && s.unit > 0
		for _, m := range s.mark {
			ok = ok && m.at >= 0 && m.at < sketchCells && finite(m.above)
		}
	}
	for k := range h.scales {
		s := &h.scales[k]
		ok = ok && finite(s.fast.value, s.day.value, s.week.value) && finite(s.model.w...) && finite(s.model.p...)
	}
	ok = ok && finite(h.ridge.w...) && finite(h.ridge.p...)
	for _, set := range [][]aggregator{h.first, h.second} {
		for i := range set {
			ok = ok && finite(set[i].weight...) && finite(set[i].regret...) && finite(set[i].square...) && finite(set[i].largest...)
		}
	}
	return ok
}

func finite[F float32 | float64](x ...F) bool {
	for _, v := range x {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return false
		}
	}
	return true
}
