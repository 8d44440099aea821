package simulator

import (
	"errors"
	"fmt"
	"strings"
)

type tokenKind int

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenText
	tokenBare
	tokenOpen
	tokenClose
	tokenComma
)

type filterToken struct {
	kind tokenKind
	text string
}

// lexFilter cuts a $filter into tokens, the last of which is tokenEnd.
func lexFilter(text string) ([]filterToken, error) {
	var tokens []filterToken
	for {
		text = strings.TrimLeft(text, " \t")
		if text == "" {
			return append(tokens, filterToken{kind: tokenEnd}), nil
		}
		token, length, err := lexToken(text)
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, token)
		text = text[length:]
	}
}

func lexToken(text string) (filterToken, int, error) {
	switch text[0] {
	case '(':
		return filterToken{kind: tokenOpen, text: "("}, 1, nil
	case ')':
		return filterToken{kind: tokenClose, text: ")"}, 1, nil
	case ',':
		return filterToken{kind: tokenComma, text: ","}, 1, nil
	case '\'':
		return lexText(text)
	}
	length := 0
	for length < len(text) && isWordByte(text[length]) {
		length++
	}
	if length == 0 {
		return filterToken{}, 0, fmt.Errorf("unexpected %q", text[:1])
	}
	word := text[:length]
	return filterToken{kind: wordKind(word), text: word}, length, nil
}

// lexText reads a quoted string, in which a doubled quote stands for one.
func lexText(text string) (filterToken, int, error) {
	var content strings.Builder
	for i := 1; i < len(text); i++ {
		if text[i] != '\'' {
			content.WriteByte(text[i])
			continue
		}
		if i+1 < len(text) && text[i+1] == '\'' {
			content.WriteByte('\'')
			i++
			continue
		}
		return filterToken{kind: tokenText, text: content.String()}, i + 1, nil
	}
	return filterToken{}, 0, errors.New("a quoted string has no end")
}

func isWordByte(b byte) bool {
	switch {
	case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		return true
	default:
		return strings.IndexByte("_-+.:/", b) >= 0
	}
}

// wordKind tells names from numbers, dates and GUIDs. A GUID may begin with a letter; no property contains a hyphen.
func wordKind(word string) tokenKind {
	first := word[0]
	if '0' <= first && first <= '9' || first == '-' || first == '+' || first == '.' || strings.Contains(word, "-") {
		return tokenBare
	}
	return tokenWord
}
