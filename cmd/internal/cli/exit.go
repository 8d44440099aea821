package cli

import (
	"context"
	"errors"
	"fmt"
)

// Code is a process's exit code.
type Code int

// The exit codes of every command. A command ended by a signal exits with 128
// and the signal's number: 130 after SIGINT, 143 after SIGTERM.
const (
	ExitOK          Code = 0
	ExitUnexpected  Code = 1
	ExitUsage       Code = 2 // usage or configuration: the same call will fail again
	ExitRejects     Code = 3 // finished, but something was rejected or failed
	ExitUnreachable Code = 4 // a server cannot be reached or does not take it now: try later
	ExitCredentials Code = 5 // refused for who we are
	ExitTimeout     Code = 6 // what was waited for has not come
)

// Error is an error that knows the exit code it leads to.
type Error struct {
	Code Code
	Err  error
}

// Errorf makes an Error as fmt.Errorf makes errors.
func Errorf(code Code, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// Error gives the text alone: the code is for the process.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the error that the code was put to.
func (e *Error) Unwrap() error { return e.Err }

func (e *SignalError) code() Code { return Code(128 + int(e.Signal)) }

// exitCode finds the code an error leads to. An error that only says that the
// context ended is the signal's doing, where there was one.
func exitCode(ctx context.Context, err error) int {
	if err == nil {
		return int(ExitOK)
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return int(e.Code)
	}
	if s, ok := errors.AsType[*SignalError](err); ok {
		return int(s.code())
	}
	if s, ok := errors.AsType[*SignalError](context.Cause(ctx)); ok && errors.Is(err, context.Canceled) {
		return int(s.code())
	}
	return int(ExitUnexpected)
}
