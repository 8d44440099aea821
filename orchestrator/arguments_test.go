package orchestrator

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseArguments(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		want []Argument
		err  string
	}{
		"nothing":    {text: ""},
		"blank":      {text: " \n"},
		"null":       {text: "null"},
		"empty list": {text: "[]", want: []Argument{}},
		"as Orchestrator has it": {
			text: `[{"name":"in_Batch","type":"System.Int32, System.Private.CoreLib, Version=6.0.0.0, Culture=neutral, PublicKeyToken=7cec85d7bea7798e","required":true,"hasDefault":false},
				{"name":"in_Table","type":"System.Data.DataTable, System.Data.Common, Version=6.0.0.0","required":false,"hasDefault":true}]`,
			want: []Argument{{Name: "in_Batch", Type: "Int32", Required: true}, {Name: "in_Table", Type: "DataTable", HasDefault: true}},
		},
		"members missing, unknown and of another type": {
			text: `[{"name":"a"},{"name":"b","type":null,"required":"yes","x":[]},{"name":"c","type":{"of":1},"required":null}]`,
			want: []Argument{{Name: "a"}, {Name: "b"}, {Name: "c"}},
		},
		"no JSON":      {text: "in_Batch", err: "Arguments.Input is no list of parameters"},
		"cut off":      {text: `[{"name":"a"}`, err: "Arguments.Input is no list of parameters"},
		"an object":    {text: `{"type":"object"}`, err: "Arguments.Input is no list of parameters"},
		"without name": {text: `[{"type":"System.String"}]`, err: "Arguments.Input has a parameter without a name"},
		"null entry":   {text: `[null]`, err: "Arguments.Input has a parameter without a name"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := (&ReleaseArguments{Input: test.text}).Inputs()
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v, want %q", err, test.err)
				}
				return
			}
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
	var none *ReleaseArguments
	inputs, err := none.Inputs()
	outputs, err2 := none.Outputs()
	if inputs != nil || outputs != nil || err != nil || err2 != nil {
		t.Errorf("without arguments: got %v, %v, %v, %v", inputs, err, outputs, err2)
	}
}

func TestShortType(t *testing.T) {
	t.Parallel()
	const assembly = ", mscorlib, Version=4.0.0.0, Culture=neutral, PublicKeyToken=b77a5c561934e089"
	for full, want := range map[string]string{
		"":                           "",
		"System.String":              "String",
		"System.DateTime" + assembly: "DateTime",
		"System.String[]" + assembly: "String[]",
		"System.Byte[,][]":           "Byte[,][]",
		"Acme.Outer+Inner, Acme":     "Inner",
		"System.Collections.Generic.List`1[[System.String" + assembly + "]]" + assembly:                                         "List<String>",
		"System.Collections.Generic.Dictionary`2[[System.String" + assembly + "],[System.Object[]" + assembly + "]]" + assembly: "Dictionary<String, Object[]>",
		"System.Nullable`1[System.Int32]":                                       "Nullable<Int32>",
		"System.Collections.Generic.Dictionary`2[System.String,System.Int32][]": "Dictionary<String, Int32>[]",
		"A.List`1[[B.List`1[[System.Int64" + assembly + "]]" + assembly + "]]":  "List<List<Int64>>",
		"System.Collections.Generic.List`1":                                     "List",
		"string":                                                                "string",
		"System.Collections.Generic.List`1[[System.String":                      "System.Collections.Generic.List`1[[System.String",
		"a]":           "a]",
		"a[b]":         "a[b]",
		", mscorlib":   ", mscorlib",
		"odd\xfftext.": "odd\xfftext.",
		strings.Repeat("A`1[", 100) + "B" + strings.Repeat("]", 100): strings.Repeat("A`1[", 100) + "B" + strings.Repeat("]", 100),
	} {
		if got := shortType(full); got != want {
			t.Errorf("%q: got %q, want %q", full, got, want)
		}
	}
}

func FuzzParseArguments(f *testing.F) {
	for _, seed := range []string{
		"", "null", "[]", `[{"name":"a","type":"System.String, mscorlib","required":true}]`,
		"[{\"name\":\"a\",\"type\":\"L`1[[System.String, m],[B[,], m]], m\"}]", `{"type":"object"}`, `[{"name":"a","type":"x]["}]`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		arguments, err := parseArguments("Input", text)
		if err != nil && arguments != nil {
			t.Errorf("got %v and %v", arguments, err)
		}
		for _, a := range arguments {
			if a.Name == "" {
				t.Errorf("%q gives a parameter without a name", text)
			}
			if len(a.Type) > len(text)*3 { // the decoder writes three bytes for one that is no UTF-8
				t.Errorf("%q: the short type %q is longer than what it was made of", text, a.Type)
			}
		}
	})
}
