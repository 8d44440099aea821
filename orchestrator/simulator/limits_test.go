package simulator

import (
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestListLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, c := setup(t, Config{ListReadsPerMinute: 3})
		id := c.post(http.StatusCreated, addPath, item("Invoices", "R")).created(t)
		for range 3 {
			c.get(http.StatusOK, "/odata/QueueItems")
			time.Sleep(10 * time.Second)
		}
		x := c.get(http.StatusTooManyRequests, "/odata/QueueItems?$filter=Id%20eq%201")
		if got := x.answer.Get("Retry-After"); got != "30" {
			t.Errorf("Retry-After: got %s, want the 30 seconds until the first call is a minute old", got)
		}
		c.get(http.StatusOK, "/odata/Jobs") // has a budget of its own
		for range 10 {                      // these are exempt
			c.get(http.StatusOK, itemPath(id))
			c.get(http.StatusOK, "/odata/Releases")
			c.post(http.StatusCreated, addPath, item("Invoices", "R"))
		}
		time.Sleep(30 * time.Second)
		c.get(http.StatusOK, "/odata/QueueItems")
		c.get(http.StatusTooManyRequests, "/odata/QueueItems")
	})
}

func TestDefaultListLimit(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int]int{0: 100, -1: 150} {
		t.Run(strconv.Itoa(limit), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, c := setup(t, Config{ListReadsPerMinute: limit})
				answered := 0
				for range 150 {
					if x, err := c.try(t.Context(), http.MethodGet, "/odata/Jobs", nil); err == nil && x.status == http.StatusOK {
						answered++
					}
				}
				if answered != want {
					t.Errorf("answered: got %d, want %d", answered, want)
				}
			})
		})
	}
}

func TestRetryAfterForms(t *testing.T) {
	t.Parallel()
	for form, want := range map[RetryAfterForm]string{
		RetryAfterSeconds: "90", RetryAfterNone: "", RetryAfterDate: "Sat, 01 Jan 2000 00:01:30 GMT",
	} {
		t.Run(string(form), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, c := setup(t, Config{
					Faults:   Faults{Rate: 1, Kinds: []FaultKind{Throttle}, RetryAfter: 90 * time.Second},
					Switches: Switches{RetryAfterForm: form},
				})
				x := c.post(http.StatusTooManyRequests, addPath, item("Invoices", "R"))
				if got := x.answer.Get("Retry-After"); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		})
	}
}

func TestClockSkew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, c := setup(t, Config{ClockSkew: 90 * time.Second})
		x := c.post(http.StatusCreated, addPath, item("Invoices", "R"))
		var got struct{ CreationTime string }
		x.decode(t, &got)
		if got.CreationTime != "2000-01-01T00:01:30.0000000Z" || x.answer.Get("Date") != "Sat, 01 Jan 2000 00:01:30 GMT" {
			t.Errorf("got %s and Date %s, want both 90 s ahead", got.CreationTime, x.answer.Get("Date"))
		}
	})
}
