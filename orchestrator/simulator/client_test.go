package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const (
	testBase   = "https://orchestrator.test/acme/prod/orchestrator_"
	testFolder = "Finance/Invoices"

	addPath   = "/odata/Queues/UiPathODataSvc.AddQueueItem"
	bulkPath  = "/odata/Queues/UiPathODataSvc.BulkAddQueueItems"
	startPath = "/odata/Jobs/UiPath.Server.Configuration.OData.StartJobs"
	stopPath  = "/odata/Jobs/UiPath.Server.Configuration.OData.StopJobs"
)

// client calls a Server with a personal access token and a folder.
type client struct {
	tb     testing.TB
	http   *http.Client
	base   string
	folder string
	header http.Header
	record func(exchange)
}

// exchange is a call with its answer.
type exchange struct {
	method, url string
	header      http.Header
	sent        []byte
	status      int
	answer      http.Header
	body        []byte
}

// setup returns a Server with a folder that has a plain queue "Invoices", a unique queue "Unique" with one retry and a
// release "Post invoices", and a client for it.
func setup(tb testing.TB, cfg Config) (*Server, *client) {
	tb.Helper()
	s := New(cfg)
	tb.Cleanup(s.Close)
	s.AddFolder(testFolder)
	for _, q := range []Queue{{Name: "Invoices"}, {Name: "Unique", Unique: true, MaxRetries: 1}} {
		if _, err := s.AddQueue(testFolder, q); err != nil {
			tb.Fatal(err)
		}
	}
	if _, err := s.AddRelease(testFolder, "Post invoices"); err != nil {
		tb.Fatal(err)
	}
	return s, newClient(tb, s)
}

func newClient(tb testing.TB, s *Server) *client {
	tb.Helper()
	return &client{
		tb: tb, http: &http.Client{Transport: s.RoundTripper()}, base: testBase, folder: testFolder,
		header: http.Header{"Authorization": {"Bearer rt_test"}},
	}
}

// try makes a call whose failure is part of the test.
func (c *client) try(ctx context.Context, method, path string, body any) (exchange, error) {
	c.tb.Helper()
	var sent []byte
	if body != nil {
		if text, ok := body.(string); ok {
			sent = []byte(text)
		} else {
			sent = mustJSON(c.tb, body)
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(sent))
	if err != nil {
		c.tb.Fatal(err)
	}
	r.Header = c.header.Clone()
	if c.folder != "" {
		r.Header.Set(headerFolderPath, c.folder)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(r)
	if err != nil {
		return exchange{}, err
	}
	defer func() { _ = response.Body.Close() }()
	got, err := io.ReadAll(response.Body)
	x := exchange{
		method: method, url: r.URL.String(), header: r.Header, sent: sent,
		status: response.StatusCode, answer: response.Header, body: got,
	}
	if c.record != nil {
		c.record(x)
	}
	return x, err
}

// do makes a call that has to be answered with the status.
func (c *client) do(status int, method, path string, body any) exchange {
	c.tb.Helper()
	x, err := c.try(context.Background(), method, path, body)
	if err != nil {
		c.tb.Fatalf("%s %s: %v", method, path, err)
	}
	if x.status != status {
		c.tb.Fatalf("%s %s: got status %d, want %d; body %s", method, path, x.status, status, x.body)
	}
	return x
}

func (c *client) get(status int, path string) exchange {
	c.tb.Helper()
	return c.do(status, http.MethodGet, path, nil)
}

func (c *client) post(status int, path string, body any) exchange {
	c.tb.Helper()
	return c.do(status, http.MethodPost, path, body)
}

// list reads the page of a list call with a filter and returns one member of each row, as JSON.
func (c *client) list(set, filter, member string) []string {
	c.tb.Helper()
	x := c.get(http.StatusOK, "/odata/"+set+"?$filter="+url.QueryEscape(filter))
	got := []string{}
	for _, row := range x.rows(c.tb) {
		got = append(got, strings.Trim(string(row[member]), `"`))
	}
	return got
}

func (x exchange) rows(tb testing.TB) []map[string]json.RawMessage {
	tb.Helper()
	var page struct {
		Value []map[string]json.RawMessage `json:"value"`
	}
	x.decode(tb, &page)
	return page.Value
}

func (x exchange) decode(tb testing.TB, v any) {
	tb.Helper()
	if err := json.Unmarshal(x.body, v); err != nil {
		tb.Fatalf("%s %s: body %q: %v", x.method, x.url, x.body, err)
	}
}

// code is the errorCode of an error body.
func (x exchange) code(tb testing.TB) int {
	tb.Helper()
	var body struct {
		ErrorCode int `json:"errorCode"`
	}
	x.decode(tb, &body)
	return body.ErrorCode
}

func mustJSON(tb testing.TB, v any) []byte {
	tb.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

type object = map[string]any

func item(queue, reference string, more ...object) object {
	data := object{"Name": queue, "Priority": "Normal", "SpecificContent": object{"Amount": 12.5}}
	if reference != "" {
		data["Reference"] = reference
	}
	for _, m := range more {
		maps.Copy(data, m)
	}
	return object{"itemData": data}
}

func bulk(queue, commitType string, references ...string) object {
	items := []any{}
	for _, reference := range references {
		items = append(items, item(queue, reference)["itemData"])
	}
	return object{"queueName": queue, "commitType": commitType, "queueItems": items}
}

func start(more object) object {
	info := object{"ReleaseName": "Post invoices", "Strategy": "ModernJobsCount", "JobsCount": 1, "InputArguments": `{"in_Date":"2026-11-22"}`}
	maps.Copy(info, more)
	return object{"startInfo": info}
}

// created is the id in the answer of AddQueueItem.
func (x exchange) created(tb testing.TB) int64 {
	tb.Helper()
	var body struct{ ID int64 }
	x.decode(tb, &body)
	return body.ID
}

// references returns the references of the effects, in order.
func references(s *Server) []string {
	got := []string{}
	for effect := range s.AllEffects() {
		got = append(got, effect.Reference)
	}
	return got
}
