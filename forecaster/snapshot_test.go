package forecaster

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"testing"
	"time"
)

func aged(t testing.TB) *Engine {
	e := newEngine(t, func(o *Options) { o.Leads = []time.Duration{5 * time.Minute, 15 * time.Minute} })
	r := rand.New(rand.NewPCG(1, 9))
	feed(e, 0, 2500, func(i int) Observation { return Value(wave(r, i)) })
	return e
}

func TestRestoredEngineGoesOnBitForBit(t *testing.T) {
	a := aged(t)
	b := newEngine(t, func(o *Options) { *o = a.Options() })
	if err := b.Restore(a.Snapshot()); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(2, 9))
	for i := 2500; i < 3500; i++ {
		v := Value(wave(r, i))
		a.Observe(minute(i), v)
		b.Observe(minute(i), v)
		fa, _ := a.Forecast(minute(i + 1))
		fb, _ := b.Forecast(minute(i + 1))
		if fa != fb {
			t.Fatalf("minute %d: the restored engine forecasts %+v, the other %+v", i, fb, fa)
		}
	}
}

func TestRestoreRefuses(t *testing.T) {
	good := aged(t).Snapshot()
	resealed := func(change func(b []byte)) []byte {
		b := append([]byte(nil), good[:len(good)-4]...)
		change(b)
		return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	}
	for _, c := range []struct {
		name string
		data []byte
		with func(*Options)
	}{
		{"nothing", nil, nil},
		{"cut short", good[:len(good)/2], nil},
		{"one byte short", good[:len(good)-1], nil},
		{"a bit flipped", append(append([]byte(nil), good[:1000]...), append([]byte{good[1000] ^ 1}, good[1001:]...)...), nil},
		{"other leads", good, func(o *Options) { o.Leads = o.Leads[:1] }},
		{"other quantiles", good, func(o *Options) { o.Quantiles = []float64{0.5, 0.9, 0.95, 0.98} }},
		{"other step", good, func(o *Options) { o.Step = 30 * time.Second }},
		{"another version", resealed(func(b []byte) { b[4]++ }), nil},
		{"an index out of range", resealed(func(b []byte) {
			for i := len(b) - 4000; i < len(b); i++ {
				b[i] = 0xff
			}
		}), nil},
		{"longer", resealed(func(b []byte) {})[:len(good)-4], nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := aged(t)
			if c.with != nil {
				o := e.Options()
				c.with(&o)
				var err error
				if e, err = New(o); err != nil {
					t.Fatal(err)
				}
				e.Observe(start, Value(1))
			}
			before := string(e.Snapshot())
			if err := e.Restore(c.data); !errors.Is(err, ErrSnapshot) {
				t.Fatalf("error %v, want ErrSnapshot", err)
			}
			if string(e.Snapshot()) != before {
				t.Error("a refused snapshot changed the engine")
			}
		})
	}
}

// Whatever bytes come in, sealed with a right checksum or not, Restore neither panics nor leaves an engine that does.
func FuzzRestore(f *testing.F) {
	small := func(t testing.TB) *Engine {
		e := newEngine(t, func(o *Options) { o.Step = 5 * time.Minute })
		for i := range 50 {
			e.Observe(start.Add(time.Duration(i)*5*time.Minute), Value(float64(i%9)))
		}
		return e
	}
	good := small(f).Snapshot()
	f.Add(uint16(0), uint64(0), true)
	f.Add(uint16(500), ^uint64(0), true)
	f.Fuzz(func(t *testing.T, at uint16, word uint64, seal bool) {
		b := append([]byte(nil), good...)
		i := int(at) * 8 % (len(b) - 12)
		binary.LittleEndian.PutUint64(b[i:], word)
		if seal {
			binary.LittleEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b[:len(b)-4], castagnoli))
		}
		e := small(t)
		if e.Restore(b) != nil {
			return
		}
		for i := range 20 {
			e.Observe(start.Add(time.Duration(50+i)*5*time.Minute), Value(5))
			_, _ = e.Forecast(start.Add(time.Duration(51+i) * 5 * time.Minute))
		}
	})
}
