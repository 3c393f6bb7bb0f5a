package main

import (
	"context"
	"errors"
)

func scenariosCommand(context.Context, []string) error { return errors.New("needs the test bed") }
