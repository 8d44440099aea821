package pipeline_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"waybill/orchestrator/simulator"
	"waybill/pipeline"
)

// contract is docs/asyncapi.yaml with its JSON Schemas, to hold messages
// against.
type contract struct {
	compiler *jsonschema.Compiler
	Channels map[string]struct {
		Address    string                   `json:"address"`
		Parameters map[string]*parameterRef `json:"parameters"`
	} `json:"channels"`
	Components struct {
		Parameters map[string]parameter `json:"parameters"`
		Messages   map[string]struct {
			Examples []example `json:"examples"`
		} `json:"messages"`
	} `json:"components"`
}

// parameterRef is a parameter in its place, or the name of one.
type parameterRef struct {
	Ref string `json:"$ref"`
	parameter
}

type parameter struct {
	Enum     []string `json:"enum"`
	Examples []string `json:"examples"`
}

type example struct {
	Name    string            `json:"name"`
	Headers map[string]string `json:"headers"`
	Payload json.RawMessage   `json:"payload"`
}

const (
	docsFolder   = "../docs"
	contractURL  = "https://waybill.test/docs/asyncapi.yaml"
	requestURL   = "https://waybill.test/docs/schemas/request.json"
	outcomeURL   = "https://waybill.test/docs/schemas/outcome.json"
	closedURL    = "https://waybill.test/closed/outcome.json"
	headersOf    = contractURL + "#/components/schemas/"
	payloadsOf   = contractURL + "#/components/messages/"
	schemaMember = "/payload/schema"
)

var readContract = sync.OnceValues(func() (*contract, error) {
	source, err := os.ReadFile(filepath.Join(docsFolder, "asyncapi.yaml"))
	if err != nil {
		return nil, err
	}
	data, err := yaml.YAMLToJSON(source)
	if err != nil {
		return nil, err
	}
	c := &contract{compiler: jsonschema.NewCompiler()}
	if err := json.Unmarshal(data, c); err != nil {
		return nil, err
	}
	c.compiler.DefaultDraft(jsonschema.Draft7)
	c.compiler.AssertFormat()
	return c, errors.Join(
		c.addSchema(contractURL, data, nil),
		c.addSchemaFile(requestURL, "request.json", nil),
		c.addSchemaFile(outcomeURL, "outcome.json", nil),
		c.addSchemaFile(closedURL, "outcome.json", closeObjects),
	)
})

func (c *contract) addSchemaFile(url, name string, change func(any)) error {
	data, err := os.ReadFile(filepath.Join(docsFolder, "schemas", name))
	if err != nil {
		return err
	}
	return c.addSchema(url, data, change)
}

func (c *contract) addSchema(url string, data []byte, change func(any)) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	if change != nil {
		change(doc)
	}
	return c.compiler.AddResource(url, doc)
}

// closeObjects makes a schema refuse the members that it leaves open for later
// versions: what this version emits has to stand in its own contract.
func closeObjects(schema any) {
	object, ok := schema.(map[string]any)
	if !ok {
		return
	}
	if object["additionalProperties"] == true {
		object["additionalProperties"] = false
	}
	for _, member := range object {
		closeObjects(member)
	}
}

func loadContract(t *testing.T) *contract {
	t.Helper()
	c, err := readContract()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// check holds a JSON value against the schema at a URL.
func (c *contract) check(url string, body []byte) error {
	schema, err := c.compile(url)
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// compiling guards the compiler, which is not for concurrent use.
var compiling sync.Mutex

func (c *contract) compile(url string) (*jsonschema.Schema, error) {
	compiling.Lock()
	defer compiling.Unlock()
	return c.compiler.Compile(url)
}

// checkHeaders holds headers against a schema, and refuses those that it does
// not name and that are not the server's.
func (c *contract) checkHeaders(name string, header nats.Header) error {
	values := make(map[string]any, len(header))
	var faults []error
	schema, err := c.compile(headersOf + name)
	if err != nil {
		return err
	}
	for header, all := range header {
		if len(all) != 1 {
			faults = append(faults, fmt.Errorf("header %s has %d values", header, len(all)))
			continue
		}
		values[header] = all[0]
		if _, known := schema.Properties[header]; !known && !strings.HasPrefix(header, "Nats-") {
			faults = append(faults, fmt.Errorf("header %s is not in the contract", header))
		}
	}
	return errors.Join(append(faults, schema.Validate(values))...)
}

// parameterOf gives a parameter of a channel.
func (c *contract) parameterOf(channel, name string) (parameter, bool) {
	ref, ok := c.Channels[channel].Parameters[name]
	if !ok {
		return parameter{}, false
	}
	if ref.Ref == "" {
		return ref.parameter, true
	}
	p, ok := c.Components.Parameters[ref.Ref[strings.LastIndexByte(ref.Ref, '/')+1:]]
	return p, ok
}

var placeholder = regexp.MustCompile(`\\\{(\w+)\\\}`)

// checkSubject holds a subject against a channel's address.
func (c *contract) checkSubject(channel, subject string) error {
	address := c.Channels[channel].Address
	pattern := "^" + placeholder.ReplaceAllString(regexp.QuoteMeta(address), `(?P<$1>[^.*>\s]+)`) + "$"
	re, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	values := re.FindStringSubmatch(subject)
	if values == nil {
		return fmt.Errorf("subject %s is not of the form %s", subject, address)
	}
	for i, name := range re.SubexpNames()[1:] {
		p, ok := c.parameterOf(channel, name)
		if !ok {
			return fmt.Errorf("channel %s does not describe its parameter %s", channel, name)
		}
		if value := values[i+1]; len(p.Enum) > 0 && !slices.Contains(p.Enum, value) {
			return fmt.Errorf("subject %s: %s is %s, want one of %v", subject, name, value, p.Enum)
		}
	}
	return nil
}

func TestContractExamplesOfRequests(t *testing.T) {
	t.Parallel()
	c := loadContract(t)
	for message, lane := range map[string]pipeline.Lane{
		"itemRequest": {Tenant: "Default", Folder: "Finance/Invoices", Kind: pipeline.KindItem, Name: "Invoices"},
		"jobRequest":  {Tenant: "Default", Folder: "Shared", Kind: pipeline.KindJob, Name: "Pay invoices"},
	} {
		examples := c.Components.Messages[message].Examples
		if len(examples) == 0 {
			t.Errorf("%s has no examples", message)
		}
		for _, e := range examples {
			if err := c.check(payloadsOf+message+schemaMember, e.Payload); err != nil {
				t.Errorf("%s, example %s: %v", message, e.Name, err)
			}
			if err := c.checkHeaders("requestHeaders", headerOf(e)); err != nil {
				t.Errorf("%s, example %s: %v", message, e.Name, err)
			}
			r, err := pipeline.DecodeRequest(e.Payload)
			if r.Key == "" {
				r.Key = e.Headers[pipeline.HeaderKey]
			}
			if err := errors.Join(err, r.Validate(lane)); err != nil {
				t.Errorf("%s, example %s: %v", message, e.Name, err)
			}
		}
	}
}

func headerOf(e example) nats.Header {
	header := nats.Header{}
	for name, value := range e.Headers {
		header.Set(name, value)
	}
	return header
}

func TestContractExamplesOfOutcomes(t *testing.T) {
	t.Parallel()
	c := loadContract(t)
	for _, e := range c.Components.Messages["outcome"].Examples {
		if err := c.checkOutcome(headerOf(e), e.Payload); err != nil {
			t.Errorf("example %s: %v", e.Name, err)
		}
		o, err := pipeline.DecodeOutcome(e.Payload)
		if err != nil {
			t.Errorf("example %s: %v", e.Name, err)
		}
		if err := c.checkSubject("outcomes", pipeline.Topology{}.OutcomeSubject(o.Lane(), o.Key, o.Stage)); err != nil {
			t.Errorf("example %s: %v", e.Name, err)
		}
	}
	for _, e := range c.Components.Messages["deadLetter"].Examples {
		if err := c.checkHeaders("deadLetterHeaders", headerOf(e)); err != nil {
			t.Errorf("example %s: %v", e.Name, err)
		}
	}
}

// checkOutcome holds an outcome's body and headers against the contract, and
// both against each other.
func (c *contract) checkOutcome(header nats.Header, body []byte) error {
	faults := []error{
		c.check(payloadsOf+"outcome"+schemaMember, body),
		c.check(closedURL, body),
		c.checkHeaders("outcomeHeaders", header),
	}
	o, err := pipeline.DecodeOutcome(body)
	if err != nil {
		return errors.Join(append(faults, err)...)
	}
	again, err := json.Marshal(o)
	faults = append(faults, err)
	if diff := cmp.Diff(decoded(body), decoded(again)); diff != "" {
		faults = append(faults, fmt.Errorf("the outcome is another once it was decoded and encoded (-before +after):\n%s", diff))
	}
	if err := c.checkErrorKind(o); err != nil {
		faults = append(faults, err)
	}
	subject := pipeline.Topology{}.OutcomeSubject(o.Lane(), o.Key, o.Stage)
	scopeAndKey := strings.TrimSuffix(strings.TrimPrefix(subject, "uipath.outcomes."), "."+string(o.Stage))
	cut := strings.LastIndexByte(scopeAndKey, '.')
	want := fmt.Sprintf("%s/%s/%d/%s", scopeAndKey[:cut], scopeAndKey[cut+1:], o.Generation, o.Stage)
	if got := header.Get(nats.MsgIdHdr); got != want {
		faults = append(faults, fmt.Errorf("%s is %q, want %q", nats.MsgIdHdr, got, want))
	}
	return errors.Join(faults...)
}

// checkErrorKind wants the kinds of errors listed, though the schema leaves
// them open for later versions.
func (c *contract) checkErrorKind(o pipeline.Outcome) error {
	if o.Error == nil {
		return nil
	}
	schema, err := c.compile(outcomeURL + "#/properties/error/properties/kind")
	if err != nil {
		return err
	}
	if !slices.Contains(schema.Examples, any(o.Error.Kind)) {
		return fmt.Errorf("error kind %s is not among those that the contract lists: %v", o.Error.Kind, schema.Examples)
	}
	return nil
}

func decoded(body []byte) any {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err.Error()
	}
	return value
}

// The tokens that the contract shows as examples are spelled as the program
// spells them.
func TestContractTokens(t *testing.T) {
	t.Parallel()
	c := loadContract(t)
	for name, p := range c.Components.Parameters {
		for _, token := range p.Examples {
			plain, err := url.PathUnescape(token)
			if err != nil {
				t.Errorf("parameter %s: %v", name, err)
				continue
			}
			lane := pipeline.Lane{Tenant: "T", Folder: plain, Kind: pipeline.KindItem, Name: "Q"}
			if got, want := (pipeline.Topology{}).RequestSubject(lane), "uipath.requests.T."+token+".items.Q"; got != want {
				t.Errorf("parameter %s, example %s: the program's subject is %s, want %s", name, token, got, want)
			}
		}
	}
}

// Every request and every outcome that the documents show as JSON is one.
func TestDocumentExamples(t *testing.T) {
	t.Parallel()
	c := loadContract(t)
	files := []string{"../README.md"}
	err := filepath.WalkDir(docsFolder, func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for line, block := range jsonBlocks(string(text)) {
			if err := c.checkDocumentJSON(block); err != nil {
				t.Errorf("%s:%d: %v", file, line, err)
			}
		}
	}
}

// jsonBlocks gives the blocks of a Markdown text that are fenced as json, by
// the line they begin at.
func jsonBlocks(text string) map[int]string {
	blocks := make(map[int]string)
	begin := 0
	var block strings.Builder
	number := 0
	for line := range strings.Lines(text) {
		number++
		fence := strings.TrimSpace(line)
		switch {
		case begin == 0 && fence == "```json":
			begin = number + 1
			block.Reset()
		case begin > 0 && fence == "```":
			blocks[begin] = block.String()
			begin = 0
		case begin > 0:
			block.WriteString(line)
		}
	}
	return blocks
}

// checkDocumentJSON holds each value of a block against the schema it looks
// like; what looks like neither only has to be JSON.
func (c *contract) checkDocumentJSON(block string) error {
	values := json.NewDecoder(strings.NewReader(block))
	for {
		var body json.RawMessage
		if err := values.Decode(&body); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var members map[string]json.RawMessage
		if json.Unmarshal(body, &members) != nil {
			continue // not an object
		}
		var err error
		switch {
		case members["decidedBy"] != nil || members["stage"] != nil:
			err = c.check(outcomeURL, body)
		case members["item"] != nil || members["job"] != nil:
			_, decodeErr := pipeline.DecodeRequest(body)
			err = errors.Join(c.check(requestURL, body), decodeErr)
		}
		if err != nil {
			return err
		}
	}
}

func TestDocumentExamplesAreFound(t *testing.T) {
	t.Parallel()
	c := loadContract(t)
	for _, test := range []struct {
		name, text string
		blocks     int
		good       bool
	}{
		{"request", "A\n```json\n{\"key\":\"k\",\"item\":{}}\n```\n", 1, true},
		{"two requests", "```json\n{\"key\":\"k\",\"item\":{}}\n{\"key\":\"l\",\"job\":{}}\n```\n", 1, true},
		{"unknown member", "```json\n{\"key\":\"k\",\"itme\":{},\"job\":{}}\n```\n", 1, false},
		{"half an outcome", "```json\n{\"key\":\"k\",\"stage\":\"final\"}\n```\n", 1, false},
		{"something else", "```json\n{\"value\":[]}\n```\n", 1, true},
		{"no JSON", "```json\n{\"key\":…}\n```\n", 1, false},
		{"other fences", "```sh\n{\n```\n", 0, true},
		{"in a list", "- so:\n\n  ```json\n  {\"key\":\"k\",\"item\":{\"Priority\":\"Urgent\"}}\n  ```\n", 1, false},
	} {
		blocks := jsonBlocks(test.text)
		if len(blocks) != test.blocks {
			t.Errorf("%s: %d blocks found, want %d", test.name, len(blocks), test.blocks)
		}
		for _, block := range blocks {
			if err := c.checkDocumentJSON(block); (err == nil) != test.good {
				t.Errorf("%s: got %v, want good %t", test.name, err, test.good)
			}
		}
	}
}

// What the worker's checks take, the schema takes, and what they refuse it
// refuses, so that a producer can rely on either. Where a schema cannot say
// what the checks say, the row has the reason.
func TestContractAgreesWithChecks(t *testing.T) {
	t.Parallel()
	c := loadContract(t)
	item := pipeline.Lane{Tenant: "Default", Folder: "Finance", Kind: pipeline.KindItem, Name: "Invoices"}
	job := pipeline.Lane{Tenant: "Default", Folder: "Finance", Kind: pipeline.KindJob, Name: "Pay"}
	long := strings.Repeat("x", 129)
	for _, test := range []struct {
		lane   pipeline.Lane
		body   string
		good   bool   // by the checks
		beyond string // why the schema takes what the checks refuse
	}{
		{item, `{"key":"k","item":{}}`, true, ""},
		{item, `{"key":"k","item":{},"job":null}`, true, ""},
		{item, `{"key":"k","item":{"SpecificContent":{"A":"x","B":1.5,"C":true,"D":null}}}`, true, ""},
		{item, `{"key":"k","item":{"SpecificContent":{"A":"2026-01-01","A@odata.type":"#String"}}}`, true, ""},
		{item, `{"key":"k","item":{"SpecificContent":null,"Priority":null,"DueDate":null,"Reference":null}}`, true, ""},
		{item, `{"key":"k","item":{"Priority":"High","DueDate":"2026-01-01T00:00:00Z","DeferDate":"2026-01-01T00:00:00.123+02:00","RiskSlaDate":"2026-01-01T00:00:00Z"}}`, true, ""},
		{item, `{"key":"k","item":{"Reference":"other","Progress":"half way","Source":"Apps","Future":{"a":[1]}}}`, true, ""},
		{item, `{"key":"k","until":"completed","notAfter":"2026-01-01T00:00:00Z","item":{}}`, true, ""},
		{item, `{"key":"k","until":null,"tenant":null,"folder":null,"queue":null,"process":null,"item":{}}`, true, ""},
		{item, `{"key":"k","tenant":"Default","folder":"Finance","queue":"INVOICES","item":{"Name":"invoices"}}`, true, ""},
		{item, `{"key":"` + long[:128] + `","item":{"Reference":"` + long[:128] + `"}}`, true, ""},
		{job, `{"key":"k","job":{}}`, true, ""},
		{job, `{"key":"k","job":{"JobsCount":1,"Strategy":"ModernJobsCount","JobPriority":"Low","RuntimeType":"Unattended"}}`, true, ""},
		{job, `{"key":"k","job":{"InputArguments":{"in":{"nested":[1,2]}}}}`, true, ""},
		{job, `{"key":"k","job":{"InputArguments":"{\"in\":1}"}}`, true, ""},
		{job, `{"key":"k","job":{"InputArguments":null,"InputFile":"0f6f2c7e-5f0f-4a57-8a57-0a3b3cbb1a60","ReleaseKey":null}}`, true, ""},
		{job, `{"key":"k","job":{"Strategy":"Specific","RobotIds":[7],"SpecificPriorityValue":45}}`, true, ""},
		{job, `{"key":"k","process":"pay","job":{"ReleaseName":"PAY"}}`, true, ""},

		{item, `[]`, false, ""},
		{item, `{}`, false, ""},
		{item, `{"key":"","item":{}}`, false, ""},
		{item, `{"key":"k","notAfter":null,"item":{}}`, true, ""},
		{item, `{"key":"two words, a ü","item":{}}`, true, ""},
		{item, `{"key":" k","item":{}}`, false, ""},
		{item, `{"key":"k ","item":{}}`, false, ""},
		{item, `{"key":"k\nl","item":{}}`, false, ""},
		{item, `{"key":7,"item":{}}`, false, ""},
		{item, `{"key":"-seq-7","item":{}}`, false, ""},
		{item, `{"key":"` + long + `","item":{}}`, false, ""},
		{item, `{"key":"k"}`, false, ""},
		{item, `{"key":"k","item":null}`, false, ""},
		{item, `{"key":"k","item":[]}`, false, ""},
		{item, `{"key":"k","item":"x"}`, false, ""},
		{item, `{"key":"k","item":{},"job":{}}`, false, ""},
		{item, `{"key":"k","item":{},"itme":1}`, false, ""},
		{item, `{"key":"k","Item":{}}`, false, ""},
		{item, `{"key":"k","until":"done","item":{}}`, false, ""},
		{item, `{"key":"k","notAfter":"tomorrow","item":{}}`, false, ""},
		{item, `{"key":"k","notAfter":"2026-01-01T00:00:00","item":{}}`, false, ""},
		{item, `{"key":"k","notAfter":1767225600,"item":{}}`, false, ""},
		{item, `{"key":"k","process":"Pay","item":{}}`, false, ""},
		{item, `{"key":"k","queue":7,"item":{}}`, false, ""},
		{item, `{"key":"k","item":{"Priority":"Urgent"}}`, false, ""},
		{item, `{"key":"k","item":{"Priority":2}}`, false, ""},
		{item, `{"key":"k","item":{"DueDate":"01.12.2026"}}`, false, ""},
		{item, `{"key":"k","item":{"RiskSlaDate":"2026-01-01"}}`, false, ""},
		{item, `{"key":"k","item":{"Reference":""}}`, false, ""},
		{item, `{"key":"k","item":{"Reference":"` + long + `"}}`, false, ""},
		{item, `{"key":"k","item":{"SpecificContent":[]}}`, false, ""},
		{item, `{"key":"k","item":{"SpecificContent":{"A":{}}}}`, false, ""},
		{item, `{"key":"k","item":{"SpecificContent":{"A":[1]}}}`, false, ""},
		{item, `{"key":"k","item":{"SpecificContent":{"":1}}}`, false, ""},
		{item, `{"key":"k","item":{"SpecificContent":{"a.b":1}}}`, false, ""},
		{job, `{"key":"k","job":{"JobsCount":2}}`, false, ""},
		{job, `{"key":"k","job":{"JobsCount":"1"}}`, false, ""},
		{job, `{"key":"k","job":{"ReleaseKey":"0f6f2c7e-5f0f-4a57-8a57-0a3b3cbb1a60"}}`, false, ""},
		{job, `{"key":"k","job":{"BatchExecutionKey":"0f6f2c7e-5f0f-4a57-8a57-0a3b3cbb1a60"}}`, false, ""},
		{job, `{"key":"k","job":{"NoOfRobots":2}}`, false, ""},
		{job, `{"key":"k","job":{"Strategy":"All"}}`, false, ""},
		{job, `{"key":"k","job":{"RobotIds":[1,2]}}`, false, ""},
		{job, `{"key":"k","job":{"MachineRobots":{}}}`, false, ""},
		{job, `{"key":"k","job":{"JobPriority":"High","SpecificPriorityValue":45}}`, false, ""},
		{job, `{"key":"k","job":{"InputArguments":{},"InputFile":"0f6f2c7e-5f0f-4a57-8a57-0a3b3cbb1a60"}}`, false, ""},
		{job, `{"key":"k","job":{"InputArguments":[]}}`, false, ""},
		{job, `{"key":"k","job":{"InputArguments":""}}`, false, ""},
		{job, `{"key":"k","queue":"Invoices","job":{}}`, false, ""},

		{item, `{"item":{}}`, false, "the key may be in the header"},
		{item, `{"key":"k","key":"k","item":{}}`, false, "a member that stands twice is gone once JSON is read"},
		{item, `{"key":"k","item":{"SpecificContent":{"A":1,"A":2}}}`, false, "a member that stands twice is gone once JSON is read"},
		{item, `{"key":"` + strings.Repeat("ü", 65) + `","item":{}}`, false, "schemas count characters, keys have bytes"},
		{item, `{"key":"k","item":{"Reference":"` + strings.Repeat("🧾", 65) + `"}}`, false, "schemas count characters, UiPath counts UTF-16 units"},
		{item, `{"key":"k","queue":"Others","item":{}}`, false, "the subject is not in the body"},
		{item, `{"key":"k","tenant":"Others","item":{}}`, false, "the subject is not in the body"},
		{item, `{"key":"k","item":{"Name":"Others"}}`, false, "the subject is not in the body"},
		{item, `{"key":"k","job":{}}`, false, "the subject is not in the body"},
		{job, `{"key":"k","job":{"JobsCount":1.0}}`, false, "1.0 is 1 to a schema"},
		{job, `{"key":"k","job":{"InputArguments":"[1]"}}`, false, "what a string holds is not for schemas"},
		{job, `{"key":"k","job":{"InputArguments":{"in":"` + strings.Repeat("x", 10_000) + `"}}}`, false, "the length of an object as text is not for schemas"},
	} {
		r, err := pipeline.DecodeRequest([]byte(test.body))
		if err == nil {
			err = r.Validate(test.lane)
		}
		if (err == nil) != test.good {
			t.Errorf("%.100s: the checks say %v, want good %t", test.body, err, test.good)
		}
		bySchema := c.check(requestURL, []byte(test.body))
		if want := test.good || test.beyond != ""; (bySchema == nil) != want {
			t.Errorf("%.100s: the schema says %v, want good %t (%s)", test.body, bySchema, want, test.beyond)
		}
	}
}

// recorder keeps what was stored in a stream, as its subscribers saw it:
// requests that are done with and news that is out of date are removed from
// their streams.
type recorder struct {
	mu       sync.Mutex
	messages []message
}

type message struct {
	sequence uint64
	subject  string
	header   nats.Header
	body     []byte
}

func record(t *testing.T, js jetstream.JetStream, stream, subject string) *recorder {
	t.Helper()
	consumer, err := js.OrderedConsumer(t.Context(), stream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}})
	if err != nil {
		t.Fatal(err)
	}
	rec := &recorder{}
	consuming, err := consumer.Consume(func(msg jetstream.Msg) {
		meta, err := msg.Metadata()
		if err != nil {
			t.Error(err)
			return
		}
		rec.mu.Lock()
		defer rec.mu.Unlock()
		rec.messages = append(rec.messages, message{meta.Sequence.Stream, msg.Subject(), msg.Headers(), msg.Data()})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		consuming.Stop()
		<-consuming.Closed()
	})
	return rec
}

func (r *recorder) all() []message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.messages)
}

// Every message that the program emits is as the contract says: a tour makes
// it emit every status, both stages, and dead letters of every reason.
func TestContractHoldsEveryMessage(t *testing.T) {
	t.Parallel()
	c := loadContract(t)
	robots := simulator.Robots{Count: 2, FaultShare: 0.5}
	inBubble(t, simulator.Config{Seed: 1, Robots: robots}, func(t *testing.T, r *rig) {
		requests := record(t, r.js, r.topology.RequestsStream(), "uipath.requests.>")
		outcomes := record(t, r.js, r.topology.LedgerStream(), "uipath.outcomes.>")
		deadLetters := record(t, r.js, r.topology.DeadLettersStream(), "uipath.deadletters.>")
		tour{t, r}.all()

		statuses := map[string]bool{}
		for _, m := range outcomes.all() {
			o, err := pipeline.DecodeOutcome(m.body)
			if err := errors.Join(err, c.checkOutcome(m.header, m.body), c.checkSubject("outcomes", m.subject)); err != nil {
				t.Errorf("outcome on %s: %v\n%s", m.subject, err, m.body)
			}
			if want := r.topology.OutcomeSubject(o.Lane(), o.Key, o.Stage); m.subject != want {
				t.Errorf("outcome on %s: the subject of its members is %s", m.subject, want)
			}
			if err := checkTrace(m, o, requests.all()); err != nil {
				t.Errorf("outcome on %s: %v", m.subject, err)
			}
			statuses[string(o.Stage)+" "+string(o.Status)] = true
		}
		want := []string{"accepted accepted", "final accepted", "final expired", "final failed", "final rejected", "final succeeded", "final unknown"}
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(statuses))); diff != "" {
			t.Errorf("the tour misses a stage or status (-want +got):\n%s", diff)
		}

		reasons := map[string]bool{}
		for _, m := range deadLetters.all() {
			if err := errors.Join(c.checkDeadLetter(m, requests.all()), c.checkSubject("deadLetters", m.subject)); err != nil {
				t.Errorf("dead letter on %s: %v\n%s", m.subject, err, m.body)
			}
			reasons[m.header.Get(pipeline.HeaderReason)] = true
		}
		want = []string{"expired", "invalid", "key_conflict", "rejected", "unknown"}
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(reasons))); diff != "" {
			t.Errorf("the tour misses a reason (-want +got):\n%s", diff)
		}

		published := 0
		for _, m := range requests.all() {
			if m.header.Get(nats.MsgIdHdr) == "" {
				continue // not from our Publisher
			}
			published++
			kind := "itemRequest"
			if strings.HasPrefix(m.subject, r.topology.RequestSubject(jobs)) {
				kind = "jobRequest"
			}
			if err := errors.Join(
				c.check(payloadsOf+kind+schemaMember, m.body),
				c.checkHeaders("requestHeaders", m.header),
				c.checkSubject(kind+"s", m.subject),
			); err != nil {
				t.Errorf("request on %s: %v\n%s", m.subject, err, m.body)
			}
		}
		if published == 0 {
			t.Error("the tour published no request with the Publisher")
		}
	})
}

// checkTrace wants an outcome to belong to its request's trace.
func checkTrace(m message, o pipeline.Outcome, requests []message) error {
	i := slices.IndexFunc(requests, func(q message) bool { return q.sequence == o.RequestSequence })
	if i < 0 {
		return fmt.Errorf("there is no request %d", o.RequestSequence)
	}
	for _, name := range []string{"traceparent", "tracestate"} {
		if got, want := m.header.Get(name), requests[i].header.Get(name); got != want {
			return fmt.Errorf("header %s is %q, want %q as in the request", name, got, want)
		}
	}
	return nil
}

// checkDeadLetter holds a dead letter against the contract and against the
// request it is a copy of.
func (c *contract) checkDeadLetter(m message, requests []message) error {
	i := slices.IndexFunc(requests, func(q message) bool {
		return strconv.FormatUint(q.sequence, 10) == m.header.Get(pipeline.HeaderRequestSequence)
	})
	if i < 0 {
		return errors.New("there is no such request")
	}
	request := requests[i]
	var faults []error
	if m.header.Get(pipeline.HeaderRequestSubject) != request.subject || !bytes.Equal(m.body, request.body) {
		faults = append(faults, fmt.Errorf("the request is another, on %s: %s", request.subject, request.body))
	}
	ours := maps.Clone(m.header)
	for name, values := range request.header {
		if strings.HasPrefix(name, "Nats-") || name == pipeline.HeaderKey {
			continue
		}
		if !slices.Equal(m.header[name], values) {
			faults = append(faults, fmt.Errorf("header %s is %q, want %q as in the request", name, m.header[name], values))
		}
		delete(ours, name)
	}
	return errors.Join(append(faults, c.checkHeaders("deadLetterHeaders", ours))...)
}

// tour makes a worker meet everything that has a name in the contract.
type tour struct {
	t *testing.T
	r *rig
}

func (v tour) all() {
	v.r.start(v.r.config())
	v.accepted()
	v.jobsToTheirEnd()
	v.itemsToTheirEnd()
	v.rejected()
	v.expired()
	v.unknown()
	v.repeats()
	time.Sleep(time.Minute) // of fake time: the last dead letters are stored
}

const traceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// want waits for a key's final outcome and checks how it ended.
func (v tour) want(lane pipeline.Lane, key string, status pipeline.Status, errorKind string) pipeline.Outcome {
	v.t.Helper()
	o := v.r.final(lane, key)
	kind := ""
	if o.Error != nil {
		kind = o.Error.Kind
	}
	if o.Status != status || kind != errorKind {
		v.t.Errorf("%s: key %s ended as %s with error %q, want %s with %q: %+v", lane, key, o.Status, kind, status, errorKind, o.Error)
	}
	return o
}

// accepted: in bulk, alone, by the default folder, and under names that have
// to be encoded.
func (v tour) accepted() {
	odd := pipeline.Lane{Tenant: "Default", Folder: "Finance/Réunion 2.0", Kind: pipeline.KindItem, Name: "Letters > * 100%"}
	if _, err := v.r.simulator.AddQueue(odd.Folder, simulator.Queue{Name: odd.Name}); err != nil {
		v.t.Fatal(err)
	}
	v.r.publish(uniqueItems, items(3)...)
	v.r.publish(odd, item("2026/42. *", 1))
	v.r.publish(jobs, job("run"))
	byDefault := plainItems
	byDefault.Folder = pipeline.DefaultFolder
	v.r.publishRaw(v.r.topology.RequestSubject(byDefault), `{"item":{"Reference":null}}`,
		pipeline.HeaderKey, "by-default", "traceparent", traceParent, "tracestate", "vendor=1")

	v.r.await(uniqueItems, time.Minute, items(3)...)
	v.want(odd, "2026/42. *", pipeline.StatusAccepted, "")
	v.want(jobs, "run", pipeline.StatusAccepted, "")
	v.want(plainItems, "by-default", pipeline.StatusAccepted, "")
}

func (v tour) jobsToTheirEnd() {
	var requests []pipeline.Request
	for i := range 8 {
		request := job(fmt.Sprintf("end-%d", i))
		request.Until = pipeline.UntilCompleted
		requests = append(requests, request)
	}
	v.r.publish(jobs, requests...)
	v.r.await(jobs, time.Hour, requests...)
	counts := v.r.checkOnce(jobs, requests)
	if counts[pipeline.StatusSucceeded] == 0 || counts[pipeline.StatusFailed] == 0 {
		v.t.Errorf("jobs ended as %v, want some succeeded and some failed", counts)
	}
}

func (v tour) itemsToTheirEnd() {
	results := map[string]simulator.Result{
		"good":    {Status: "Successful", Output: json.RawMessage(`{"Posted":true}`)},
		"bad":     {Status: "Failed", Exception: &simulator.Exception{Type: "BusinessException", Reason: "no such vendor"}},
		"dropped": {Status: "Abandoned"},
	}
	for key := range results {
		request := item(key, 1)
		request.Until = pipeline.UntilCompleted
		v.r.publish(uniqueItems, request)
	}
	for key, result := range results {
		if _, err := v.r.simulator.FinishQueueItem(v.idOf(key), simulator.Result{Status: "InProgress"}); err != nil {
			v.t.Fatal(err)
		}
		if _, err := v.r.simulator.FinishQueueItem(v.idOf(key), result); err != nil {
			v.t.Fatal(err)
		}
	}
	v.want(uniqueItems, "good", pipeline.StatusSucceeded, "")
	v.want(uniqueItems, "bad", pipeline.StatusFailed, "failed")
	v.want(uniqueItems, "dropped", pipeline.StatusFailed, "abandoned")
}

// idOf waits for the effect of a key and gives its id.
func (v tour) idOf(key string) int64 {
	v.t.Helper()
	for range 600 {
		if effects := v.r.simulator.EffectsOf(key); len(effects) > 0 {
			return effects[0].ID
		}
		time.Sleep(100 * time.Millisecond)
	}
	v.t.Fatalf("nothing in Orchestrator for key %s after a minute", key)
	return 0
}

// rejected: by the worker's checks, by Orchestrator, for want of a queue, and
// for a Reference that another item has.
func (v tour) rejected() {
	subject := v.r.topology.RequestSubject(uniqueItems)
	list := v.r.publishRaw(subject, `["not a request"]`, "traceparent", traceParent, "Producer", "test")
	v.want(uniqueItems, fmt.Sprintf("-seq-%d", list), pipeline.StatusRejected, "invalid")
	v.r.publishRaw(subject, "{\"key\":\"faulty\",\"itme\":{},\"item\":{\"Priority\":\"Urgent\"}}\n")
	v.want(uniqueItems, "faulty", pipeline.StatusRejected, "invalid")
	v.r.publishRaw(subject, `{"key":"in-the-body","item":{}}`, pipeline.HeaderKey, "in-the-header")
	v.want(uniqueItems, "in-the-body", pipeline.StatusRejected, "invalid")

	nowhere := pipeline.Lane{Tenant: "Default", Folder: pipeline.DefaultFolder, Kind: pipeline.KindItem, Name: "Nowhere"}
	v.r.publish(nowhere, item("lost", 1))
	nowhere.Folder = "Shared" // which the default folder is
	v.want(nowhere, "lost", pipeline.StatusRejected, "rejected")

	strict := pipeline.Lane{Tenant: "Default", Folder: "Shared", Kind: pipeline.KindItem, Name: "Strict"}
	if _, err := v.r.simulator.AddQueue("Shared", simulator.Queue{Name: "Strict", SchemaJSON: `{"required":["Vendor"]}`}); err != nil {
		v.t.Fatal(err)
	}
	v.r.publish(strict, item("schema", 1))
	v.want(strict, "schema", pipeline.StatusRejected, "rejected")

	first := pipeline.Request{Key: "taker", Item: json.RawMessage(`{"Reference":"taken"}`)}
	v.r.publish(uniqueItems, first)
	v.want(uniqueItems, "taker", pipeline.StatusAccepted, "")
	time.Sleep(time.Minute) // of fake time: the other item is surely the older
	v.r.publish(uniqueItems, item("taken", 1))
	if o := v.want(uniqueItems, "taken", pipeline.StatusRejected, "duplicate"); o.Item == nil || o.Item.ID != v.idOf("taken") {
		v.t.Errorf("the outcome names item %+v, want the one that has the Reference", o.Item)
	}
}

func (v tour) expired() {
	request := item("too-late", 1)
	request.NotAfter = time.Now().Add(-time.Second)
	v.r.publish(uniqueItems, request)
	v.want(uniqueItems, "too-late", pipeline.StatusExpired, "expired")
}

// unknown: the answer is lost, and the Reference does not tell whose the item
// is that is found.
func (v tour) unknown() {
	if err := v.r.simulator.SetFaults(simulator.Faults{Rate: 1, Kinds: []simulator.FaultKind{simulator.CutAfter}}); err != nil {
		v.t.Fatal(err)
	}
	v.r.publish(plainItems, pipeline.Request{Key: "doubtful", Item: json.RawMessage(`{"Reference":"CUSTOMER-7"}`)})
	v.idOf("CUSTOMER-7")
	if err := v.r.simulator.SetFaults(simulator.Faults{}); err != nil {
		v.t.Fatal(err)
	}
	v.want(plainItems, "doubtful", pipeline.StatusUnknown, "in_doubt")
}

// repeats of a key that has its outcome: equal, with another payload, broken.
func (v tour) repeats() {
	v.r.publish(uniqueItems, item("INV-00000", 0), item("INV-00000", 999))
	v.r.publishRaw(v.r.topology.RequestSubject(uniqueItems), `{"key":"INV-00001","item":7}`)
}
