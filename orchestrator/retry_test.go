package orchestrator

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// flaky fails the first calls and keeps the times at which it was called.
type flaky struct {
	failures int
	fail     http.HandlerFunc
	then     http.HandlerFunc
	at       []time.Duration // since the first
	first    time.Time
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.first.IsZero() {
		f.first = time.Now()
	}
	f.at = append(f.at, time.Since(f.first))
	if len(f.at) <= f.failures {
		f.fail(w, r)
		return
	}
	f.then(w, r)
}

var (
	oneJob    = answers(200, `{"Id":5}`)
	newJob    = answers(201, `{"value":[{"Id":5,"Key":"k","State":"Pending"}]}`)
	tooMany   = answers(429, `{"message":"slow down"}`)
	withAfter = func(value string, next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", value)
			next(w, r)
		}
	}
)

func TestRepeats(t *testing.T) {
	t.Parallel()
	unreachable := func(http.ResponseWriter, *http.Request) { panic("no answer") }
	tests := map[string]struct {
		fail        http.HandlerFunc
		read, write int // calls made of 3 failures and a success
	}{
		"429": {tooMany, 4, 4},
		"no healthy upstream": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("no healthy upstream"))
		}, 4, 4},
		"503":             {answers(503, `{"message":"busy"}`), 4, 1},
		"500":             {answers(500, `{"message":"oops"}`), 4, 1},
		"502":             {func(w http.ResponseWriter, _ *http.Request) { replyHTML(w, 502, "<html>") }, 4, 1},
		"504":             {answers(504, ``), 4, 1},
		"408":             {answers(408, ``), 4, 1},
		"524":             {answers(524, ``), 4, 1},
		"connection lost": {unreachable, 4, 1},
		"400":             {answers(400, `{}`), 1, 1},
		"403":             {answers(403, `{}`), 1, 1},
		"404":             {answers(404, `{}`), 1, 1},
		"409":             {answers(409, `{"errorCode":1016}`), 1, 1},
		"422":             {answers(422, `{}`), 1, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				read := &flaky{failures: 3, fail: test.fail, then: oneJob}
				_, err := flakyClient(t, read).Job(t.Context(), testFolder, 5)
				if got := len(read.at); got != test.read || (err == nil) != (test.read == 4) {
					t.Errorf("read: got %d calls, %v, want %d calls", got, err, test.read)
				}
				write := &flaky{failures: 3, fail: test.fail, then: newJob}
				_, err = flakyClient(t, write).StartJobs(t.Context(), testFolder, StartInfo{ReleaseKey: "r"})
				if got := len(write.at); got != test.write || (err == nil) != (test.write == 4) {
					t.Errorf("write: got %d calls, %v, want %d calls", got, err, test.write)
				}
			})
		})
	}
}

// flakyClient turns a panic of the handler into a lost connection.
func flakyClient(t *testing.T, f *flaky, change ...func(*Config)) *Client {
	t.Helper()
	return newTestClient(t, nil, append([]func(*Config){func(c *Config) {
		c.RetryFor = time.Minute
		c.Transport = roundTripper(func(r *http.Request) (resp *http.Response, err error) {
			defer func() {
				if recover() != nil {
					err = syscall.ECONNRESET
				}
			}()
			return serveHere(f, r), nil
		})
	}}, change...)...)
}

func TestRefusedConnectionIsRepeatedForWritesToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		client := newTestClient(t, nil, func(c *Config) {
			c.RetryFor = time.Minute
			c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				if calls++; calls < 3 {
					return nil, dialError()
				}
				return serveHere(newJob, r), nil
			})
		})
		if _, err := client.StartJobs(t.Context(), testFolder, StartInfo{ReleaseKey: "r"}); err != nil || calls != 3 {
			t.Errorf("got %d calls, %v, want 3 and success", calls, err)
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	tests := map[string]func() string{
		"seconds": func() string { return "20" },
		"date":    func() string { return time.Now().Add(20 * time.Second).UTC().Format(http.TimeFormat) },
	}
	for name, value := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &flaky{failures: 2, then: newJob, fail: func(w http.ResponseWriter, r *http.Request) { withAfter(value(), tooMany)(w, r) }}
				if _, err := flakyClient(t, f).StartJobs(t.Context(), testFolder, StartInfo{ReleaseKey: "r"}); err != nil {
					t.Fatal(err)
				}
				if f.at[1] != 20*time.Second || f.at[2] != 40*time.Second {
					t.Errorf("got calls at %v, want 0s, 20s, 40s", f.at)
				}
			})
		})
	}
}

func TestRetryAfterBeyondTheTimeLeftReturnsAtOnce(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		after    int
		retryFor time.Duration
		deadline time.Duration // 0: none
		calls    int
	}{
		"beyond RetryFor":         {11, 10 * time.Second, 0, 1},
		"beyond the deadline":     {11, time.Hour, 10 * time.Second, 1},
		"within both":             {4, 10 * time.Second, 10 * time.Second, 3},
		"no repeats at all":       {1, -1, 0, 1},
		"deadline after RetryFor": {11, 10 * time.Second, time.Hour, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if test.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				f := &flaky{failures: 100, fail: withAfter(strconv.Itoa(test.after), tooMany)}
				client := flakyClient(t, f, func(c *Config) { c.RetryFor = test.retryFor })
				_, err := client.StartJobs(ctx, testFolder, StartInfo{ReleaseKey: "r"})
				e := asError(t, err, Transient)
				if e.RetryAfter != time.Duration(test.after)*time.Second || e.Class != Writes {
					t.Errorf("got RetryAfter %s, class %s", e.RetryAfter, e.Class)
				}
				if len(f.at) != test.calls {
					t.Errorf("got calls at %v, want %d", f.at, test.calls)
				}
				if took := time.Since(f.first); took != f.at[len(f.at)-1] {
					t.Errorf("took %s, after the last call at %s", took, f.at[len(f.at)-1])
				}
			})
		})
	}
}

func TestPausesGrowAndEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{failures: 1000, fail: answers(500, `{}`)}
		_, err := flakyClient(t, f).Job(t.Context(), testFolder, 5)
		wantKind(t, err, Transient)
		if took := time.Since(f.first); took > time.Minute || took < 40*time.Second {
			t.Errorf("gave up after %s, want a little under RetryFor", took)
		}
		for i := 1; i < len(f.at); i++ {
			if pause := f.at[i] - f.at[i-1]; pause < firstPause/2 || pause > longestPause*3/2 {
				t.Errorf("pause %d is %s", i, pause)
			}
		}
		if len(f.at) < 8 || len(f.at) > 30 {
			t.Errorf("got %d calls in a minute", len(f.at))
		}
	})
}

func TestCanceledWhileWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, cancel)
		f := &flaky{failures: 100, fail: withAfter("30", tooMany)}
		_, err := flakyClient(t, f).StartJobs(ctx, testFolder, StartInfo{ReleaseKey: "r"})
		e := asError(t, err, Transient)
		if !errors.Is(e, context.Canceled) || e.StatusCode != http.StatusTooManyRequests {
			t.Errorf("got %v, want the last answer and the context's end", e)
		}
		if took := time.Since(f.first); took != 10*time.Second {
			t.Errorf("took %s, want 10s", took)
		}
	})
}

func TestLoginThatRecoversIsRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		id := &identity{life: 3600, api: newJob, fail: func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }}
		id.failing.Store(true)
		time.AfterFunc(5*time.Second, func() { id.failing.Store(false) })
		client := id.client(t, func(c *Config) { c.RetryFor = time.Minute })
		if _, err := client.StartJobs(t.Context(), testFolder, StartInfo{ReleaseKey: "r"}); err != nil {
			t.Error(err)
		}
	})
}
