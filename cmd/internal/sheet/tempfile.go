package sheet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// tempFile is a file that is gone when the process is.
type tempFile struct {
	*os.File
}

// newTempFile makes a temporary file. Where an open file can be removed, its
// name goes at once, so that not even a killed process leaves it behind.
func newTempFile() (*tempFile, error) {
	f, err := os.CreateTemp("", "enqueue-")
	if err != nil {
		return nil, fmt.Errorf("make a temporary file: %w", err)
	}
	_ = os.Remove(f.Name()) // where that fails, Close removes it
	return &tempFile{f}, nil
}

// Close removes the file.
func (f *tempFile) Close() error {
	err := f.File.Close()
	if removeErr := os.Remove(f.Name()); !errors.Is(removeErr, fs.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	if err != nil {
		return fmt.Errorf("remove a temporary file: %w", err)
	}
	return nil
}

// spool copies input that can be read once only. A reader such as a terminal
// blocks until somebody types; when the context ends it is left to itself.
func spool(ctx context.Context, from io.Reader) (*tempFile, int64, error) {
	f, err := newTempFile()
	if err != nil {
		return nil, 0, err
	}
	type copied struct {
		size int64
		err  error
	}
	done := make(chan copied, 1)
	go func() {
		size, err := io.Copy(f.File, from)
		done <- copied{size, err}
	}()
	var c copied
	select {
	case c = <-done:
	case <-ctx.Done():
		c.err = context.Cause(ctx)
	}
	if c.err != nil {
		return nil, 0, errors.Join(fmt.Errorf("copy the input to a temporary file: %w", c.err), f.Close())
	}
	return f, c.size, nil
}
