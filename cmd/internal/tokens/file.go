package tokens

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"waybill/orchestrator"
)

// file is a file that only its owner can read, and beside it another by which
// processes take turns.
type file struct {
	path string
}

// largest is far more than a stored login has.
const largest = 1 << 20

// lockRetry spaces the tries to get the lock.
const lockRetry = 20 * time.Millisecond

// File keeps a grant in a file, of mode 0600; the folder is made if it is
// missing. Where the path is a link, the file is what it leads to.
func File(path string, key Key) *Store {
	if target, err := filepath.EvalSymlinks(path); err == nil { // else there is nothing yet
		path = target
	}
	return &Store{place: file{path: path}, key: key}
}

func (f file) String() string { return f.path }

func (f file) read(context.Context) ([]byte, string, error) {
	info, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", orchestrator.ErrNoGrant
	}
	if err != nil {
		return nil, "", err //nolint:wrapcheck // it names the file
	}
	if !info.Mode().IsRegular() { // a pipe, say, which might never end
		return nil, "", fmt.Errorf("%s is no file that can be written anew (%s): remove it, or have logins kept elsewhere (WAYBILL_TOKEN_FOLDER)", f.path, info.Mode().Type())
	}
	if info.Size() > largest {
		return nil, revisionOfLarge(info), unusable("it has %d bytes, more than any stored login: run worker login again", info.Size())
	}
	value, err := os.ReadFile(f.path)
	if err != nil {
		return nil, "", err //nolint:wrapcheck // it names the file
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 {
		err = unusable("others can read it (mode %#o): chmod 600 it, and log in again if they may have", mode)
	}
	return value, revisionOf(value), err
}

// revisionOfLarge is the revision of what is not read.
func revisionOfLarge(info fs.FileInfo) string {
	return fmt.Sprintf("%d bytes of %d", info.Size(), info.ModTime().UnixNano())
}

func revisionOf(value []byte) string {
	sum := sha256.Sum256(value)
	return hex.EncodeToString(sum[:])
}

func (f file) write(ctx context.Context, value []byte, revision string) error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err //nolint:wrapcheck // it names the folder
	}
	lock := flock.New(f.path+".lock", flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	defer lock.Unlock() //nolint:errcheck // it ends with the process too
	_, present, err := f.read(ctx)
	if err != nil && !errors.Is(err, orchestrator.ErrNoGrant) && !errors.Is(err, orchestrator.ErrGrantUnusable) {
		return err
	}
	if present != revision {
		return orchestrator.ErrGrantChanged
	}
	removeRemains(f.path)
	return replace(f.path, value)
}

// removeRemains removes what processes have left that were killed before they
// could put it in its place. Whoever has the lock is the only one to write.
func removeRemains(path string) {
	dir, name := filepath.Split(path)
	entries, _ := os.ReadDir(filepath.Clean(dir)) // the next one tries again
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), name+".") && strings.HasSuffix(entry.Name(), ".new") {
			_ = os.Remove(filepath.Join(dir, entry.Name()))
		}
	}
}

// replace puts a whole new file in the place of the old one, on disk.
func replace(path string, value []byte) (err error) {
	dir := filepath.Dir(path)
	temporary, err := os.CreateTemp(dir, filepath.Base(path)+".*.new") // of mode 0600
	if err != nil {
		return err //nolint:wrapcheck // it names the file
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary.Name())
		}
	}()
	_, err = temporary.Write(value)
	if err == nil {
		err = temporary.Sync()
	}
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	if err = os.Rename(temporary.Name(), path); err != nil {
		return err //nolint:wrapcheck // it names the files
	}
	return syncFolder(dir)
}

// syncFolder has the folder's new entry reach the disk. Windows cannot, and does
// not need it.
func syncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir) //nolint:gosec // G304: the folder of the file just written
	if err != nil {
		return err //nolint:wrapcheck // it names the folder
	}
	return errors.Join(d.Sync(), d.Close())
}
