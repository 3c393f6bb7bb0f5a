package main

import (
	"context"
	"os"
	"testing"
	"time"
)

// A demo that was stopped while Kubernetes compiled went on compiling for minutes: nobody looked at the pipe yet.
func TestAClosedPipeEndsWhatItHolds(t *testing.T) {
	in, parent, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	ctx, cancel := whileOpen(context.Background(), in)
	defer cancel()
	if ctx.Err() != nil {
		t.Fatal("ended while the parent holds the pipe")
	}
	_ = parent.Close()
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("goes on without its parent")
	}
}

func TestAnEmptyFileIsNoParent(t *testing.T) {
	in, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	ctx, cancel := whileOpen(context.Background(), in)
	defer cancel()
	select {
	case <-ctx.Done():
		t.Error("/dev/null ended it")
	case <-time.After(50 * time.Millisecond):
	}
}
