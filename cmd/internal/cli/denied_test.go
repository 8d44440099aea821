package cli

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
)

func violated(text string) error {
	return fmt.Errorf("%w: Permissions Violation for %s", nats.ErrPermissionViolation, text)
}

// What the server denies ends what was being done, the innermost of it, and
// nothing else does.
func TestDenials(t *testing.T) {
	t.Parallel()
	var d Denials
	d.note(violated(`Publish to "before"`)) // nobody watches
	outer, stopOuter := d.Watch(t.Context())
	defer stopOuter()
	inner, stopInner := d.Watch(outer)
	d.note(errors.New("slow consumer"))
	d.note(violated(`Publish to "$JS.API.CONSUMER.DELETE.UIPATH_LEDGER.TnZ4JB1ZGbkMpjbrj8YrKA_1"`))
	d.note(violated(`Publish to "uipath.api.CONSUMER.DELETE.UIPATH_LEDGER.TnZ4JB1ZGbkMpjbrj8YrKA_12"`))
	if inner.Err() != nil {
		t.Errorf("ended by %v, which denies nothing that is needed", context.Cause(inner))
	}
	d.note(violated(`Publish to "uipath.requests.Default.-.items.Straße"`))
	if got := DeniedIn(inner); got == nil || got.Subscribe || got.Subject != "uipath.requests.Default.-.items.Straße" {
		t.Errorf("got %v, want the subject", got)
	}
	if outer.Err() != nil {
		t.Error("the outer watch has ended too")
	}
	stopInner()
	d.note(violated(`Subscription to "_INBOX.abc.*" using queue "q"`))
	denied := DeniedIn(outer)
	if denied == nil || !denied.Subscribe || denied.Subject != "_INBOX.abc.*" {
		t.Fatalf("got %v, want the inbox", denied)
	}
	checkError(t, denied.Needs("worker"), ExitCredentials, "set NATS_INBOX_PREFIX")
	checkError(t, (&DeniedError{Subject: "a.b"}).Needs("worker --provision"), ExitCredentials, "`worker permissions worker --provision`")
}

// A worker that may not remove a lane's consumer, or that of its own watch, lacks
// a right of its role.
func TestDenialOfRemoval(t *testing.T) {
	t.Parallel()
	for _, consumer := range []string{"UIPATH_REQUESTS.Default_items_Invoices_1a2b3c4d", "UIPATH_REQUESTS.a_items_b_12345678", "KV_UIPATH_CONTROL.q1w2e3r4"} {
		var d Denials
		ctx, stop := d.Watch(t.Context())
		d.note(violated(`Publish to "$JS.API.CONSUMER.DELETE.` + consumer + `"`))
		if got := DeniedIn(ctx); got == nil {
			t.Errorf("%s: it goes on", consumer)
		}
		stop()
	}
}

// Where nobody wants to know, nothing happens.
func TestNoDenials(t *testing.T) {
	t.Parallel()
	var d *Denials
	ctx, stop := d.Watch(t.Context())
	d.note(violated(`Publish to "a"`))
	if DeniedIn(ctx) != nil || ctx.Err() != nil {
		t.Error("it ended")
	}
	stop()
	if ctx.Err() == nil || DeniedIn(ctx) != nil {
		t.Error("it was stopped, and has not ended so")
	}
}
