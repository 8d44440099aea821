package tokens

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"waybill/orchestrator"
)

// Key seals what is stored and opens it again. The zero Key does neither. What
// prints one prints as much as of an [orchestrator.Secret].
type Key struct {
	// ring is nil for the zero Key. fmt asks no method of a Key that is in an
	// unexported field, and follows no pointer in a pointer.
	ring *ring
}

// ring is what opens, and what seals.
type ring struct {
	identities []age.Identity
	recipient  age.Recipient
}

// ParseKey reads identities of age ("AGE-SECRET-KEY-1…"), one a line, comments
// and empty lines left out. The first seals, all of them open: so a key is
// changed by putting the new one first. Its error does not show what it read.
func ParseKey(text string) (Key, error) {
	identities, err := age.ParseIdentities(strings.NewReader(text))
	if err != nil || len(identities) == 0 {
		return Key{}, errors.New("it holds no age identity, such as age-keygen or worker login --new-key prints: a line that begins with AGE-SECRET-KEY-")
	}
	switch first := identities[0].(type) {
	case *age.X25519Identity:
		return Key{&ring{identities: identities, recipient: first.Recipient()}}, nil
	case *age.HybridIdentity:
		return Key{&ring{identities: identities, recipient: first.Recipient()}}, nil
	}
	return Key{}, errors.New("its first identity is of a kind that cannot seal: use one that age-keygen prints")
}

// NewKey makes a key's text, for ParseKey.
func NewKey() (string, error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	return identity.String(), nil
}

// shown is what may be seen of it: whether there is one.
func (k Key) shown() orchestrator.Secret {
	if k.IsZero() {
		return ""
	}
	return "key"
}

// Format hides it whatever the verb.
func (k Key) Format(f fmt.State, verb rune) { k.shown().Format(f, verb) }

// MarshalText hides it from JSON and YAML.
func (k Key) MarshalText() ([]byte, error) {
	return k.shown().MarshalText() //nolint:wrapcheck // there is none
}

// LogValue hides it from slog.
func (k Key) LogValue() slog.Value { return k.shown().LogValue() }

// IsZero tells the Key that neither seals nor opens.
func (k Key) IsZero() bool { return k.ring == nil }

// seal encrypts a text, as armored age, if there is a key.
func (k Key) seal(text []byte) ([]byte, error) {
	if k.IsZero() {
		return text, nil
	}
	var sealed bytes.Buffer
	armored := armor.NewWriter(&sealed)
	w, err := age.Encrypt(armored, k.ring.recipient)
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = errors.Join(w.Close(), armored.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return sealed.Bytes(), nil
}

// isSealed tells what seal makes with a key from any other text.
func isSealed(value []byte) bool { return bytes.HasPrefix(value, []byte(armor.Header)) }

// open gives the text of what may be sealed.
func (k Key) open(value []byte) ([]byte, error) {
	if !isSealed(value) {
		return value, nil
	}
	if k.IsZero() {
		return nil, unusable("it is sealed: set WAYBILL_TOKEN_KEY, or WAYBILL_TOKEN_KEY_FILE, to the key it was sealed with")
	}
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(value)), k.ring.identities...)
	if err != nil {
		return nil, unusable("it was sealed with another key: set WAYBILL_TOKEN_KEY to that one, or run worker login again")
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, unusable("it is damaged: run worker login again: %v", err)
	}
	return text, nil
}
