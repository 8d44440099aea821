package simulator

import "iter"

// members walks the members of a JSON object that is known to be valid: the name as written between its quotes, and
// the value as written. It saves bulk calls a second decoding.
func members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, content []byte) bool) {
		rest := skipSpace(object)
		rest = skipSpace(rest[1:]) // the opening brace
		for rest[0] != '}' {
			length := stringLength(rest)
			name := rest[1 : length-1]
			rest = skipSpace(rest[length:])
			rest = skipSpace(rest[1:]) // the colon
			length = valueLength(rest)
			if !yield(name, rest[:length]) {
				return
			}
			rest = skipSpace(rest[length:])
			if rest[0] == ',' {
				rest = skipSpace(rest[1:])
			}
		}
	}
}

func skipSpace(text []byte) []byte {
	for len(text) > 0 && (text[0] == ' ' || text[0] == '\n' || text[0] == '\t' || text[0] == '\r') {
		text = text[1:]
	}
	return text
}

// stringLength measures the JSON string that text begins with, its quotes included.
func stringLength(text []byte) int {
	i := 1
	for text[i] != '"' {
		if text[i] == '\\' {
			i++
		}
		i++
	}
	return i + 1
}

// valueLength measures the JSON value that text begins with.
func valueLength(text []byte) int {
	if text[0] == '"' {
		return stringLength(text)
	}
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i += stringLength(text[i:]) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
			if depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
		}
	}
	return len(text)
}
