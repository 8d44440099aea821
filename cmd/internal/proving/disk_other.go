//go:build !linux

package proving

import "errors"

// canLimitFiles is whether another process's writes can be refused.
const canLimitFiles = false

func limitFiles(int, bool) error { return errors.ErrUnsupported }
