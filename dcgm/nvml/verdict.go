package nvml

// Verdict is what the library asks of the agent between ticks; the gravest thing first.
type Verdict struct {
	Action Action
	Why    string // for a log line and an event; "" with Carry
	Hang   Hang
	// WithoutGPM are, with Restart, the GPUs to leave alone in the new process: Options.WithoutGPM.
	WithoutGPM []string
	// Denied are calls that were refused for want of permission, in alphabetical order: what to say once. Reading MIG devices needs
	// NVIDIA_MIG_MONITOR_DEVICES=all and CAP_SYS_ADMIN.
	Denied []string
}
