package nvml

// Verdict is what the library asks of the agent between ticks; the gravest thing first.
type Verdict struct {
	Action Action
	Why    string // for a log line and an event; "" with Carry
	Hang   Hang
	// WithoutGPM are, with Restart, the GPUs to leave alone in the new process: Options.WithoutGPM.
	WithoutGPM []string
}
