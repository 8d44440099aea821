package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/sheet"
	"waybill/pipeline"
	"waybill/pipeline/embedded"
)

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// importCSV imports a file and gives the counts.
func (i *installation) importCSV(t *testing.T, file string, args ...string) (importResult, result) {
	t.Helper()
	r := i.run(t, "", append([]string{"csv", file, "--queue", "invoices", "-o", "json"}, args...)...)
	var counts importResult
	if err := json.Unmarshal([]byte(r.stdout), &counts); err != nil {
		t.Fatalf("output is not JSON: %v\n%s\n%s", err, r.stdout, r.stderr)
	}
	return counts, r
}

func checkCounts(t *testing.T, got, want importResult) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(importResult{}), cmpopts.IgnoreFields(importResult{}, "Seconds", "File", "Lane", "Rejects")); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

func TestImport(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	file := writeFile(t, filepath.Join(t.TempDir(), "items.csv"), "Reference,Priority,Amount\nR1,High,12.50\n,,7\nR3,,8\n")
	counts, r := i.importCSV(t, file, "--types", "Amount=number", "--until", "completed", "--batch", "2")
	r.want(t, cli.ExitOK, "items.csv: 3 rows read, 3 published, 0 already known, 0 rejected, in ")
	checkCounts(t, counts, importResult{Complete: true, Read: 3, Published: 3})
	messages := i.requests(t)
	if len(messages) != 3 {
		t.Fatalf("%d requests in the stream, want 3", len(messages))
	}
	if want := `{"key":"R1","until":"completed","item":{"Priority":"High","SpecificContent":{"Amount":12.50}}}`; string(messages[0].Data) != want {
		t.Errorf("request is %s, want %s", messages[0].Data, want)
	}
	if want := "uipath.requests.Default.-.items.invoices"; messages[0].Subject != want {
		t.Errorf("subject is %s, want %s", messages[0].Subject, want)
	}
	if _, err := os.Stat(file + ".rejected.csv"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a file of rejects for no rejects (%v)", err)
	}
}

// What a worker has dealt with is not published again; a row that changed is
// a conflict and goes to the rejects.
func TestImportAgain(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.work(t, pipeline.StatusAccepted)
	file := writeFile(t, filepath.Join(t.TempDir(), "items.csv"), "Reference,A\nR1,x\nR2,y\n,z\n")
	counts, r := i.importCSV(t, file)
	r.want(t, cli.ExitOK)
	checkCounts(t, counts, importResult{Complete: true, Read: 3, Published: 3})
	i.awaitSettled(t, keysOf(t, i.requests(t))...)

	writeFile(t, file, "Reference,A\nR1,x\nR2,changed\n,z\nR4,new\n")
	counts, r = i.importCSV(t, file)
	r.want(t, cli.ExitRejects, `row 3 (line 3): Reference "R2": key_conflict`, "1 of 4 rows were rejected; mend them in "+file+".rejected.csv")
	checkCounts(t, counts, importResult{Complete: true, Read: 4, Published: 1, Known: 2, Rejected: 1})
}

// A second import that finds its rows rejected says so, and does not look like
// one that went well.
func TestImportAgainAfterFailure(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	if err := i.bind(t.Context()); err != nil {
		t.Fatal(err)
	}
	for key, status := range map[string]pipeline.Status{"R1": pipeline.StatusRejected, "R2": pipeline.StatusAccepted} {
		if err := i.settle(t.Context(), canonical, pipeline.Request{Key: key, Item: json.RawMessage(`{"SpecificContent":{"A":"x"}}`)}, status); err != nil {
			t.Fatal(err)
		}
	}
	file := writeFile(t, filepath.Join(t.TempDir(), "items.csv"), "Reference,A\nR1,x\nR2,x\n")
	counts, r := i.importCSV(t, file)
	r.want(t, cli.ExitRejects, "2 rows read, nothing new: 2 already known (of them 1 rejected), 0 rejected, in ",
		"enqueue: 1 of 2 rows already known came to nothing (1 rejected); see why with: enqueue watch --all --queue invoices --status rejected\n")
	checkCounts(t, counts, importResult{Complete: true, Read: 2, Known: 2, KnownFailed: 1})
}

// awaitSettled returns when the keys have their outcomes.
func (i *installation) awaitSettled(t *testing.T, keys ...string) {
	t.Helper()
	left := map[string]bool{}
	for _, key := range keys {
		left[key] = true
	}
	for o, err := range pipeline.Watch(t.Context(), i.js, i.topology, pipeline.OutcomeFilter{All: true}, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if delete(left, o.Key); len(left) == 0 {
			return
		}
	}
}

func TestRejects(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	dir := t.TempDir()
	file := writeFile(t, filepath.Join(dir, "items.csv"), "\xEF\xBB\xBFReference;Priority;A\nR1;High;x\nR2;Urgent;\"a;b\"\nR3;x\nR1;;y\n")
	counts, r := i.importCSV(t, file)
	r.want(t, cli.ExitRejects, "3 of 4 rows were rejected")
	checkCounts(t, counts, importResult{Complete: true, Read: 4, Published: 1, Rejected: 3})
	rejected := file + ".rejected.csv"
	if counts.Rejects != rejected {
		t.Errorf("rejects are said to be in %q, want %q", counts.Rejects, rejected)
	}
	want := "\xEF\xBB\xBFwaybill:row;waybill:line;waybill:column;waybill:reason;waybill:text;Reference;Priority;A\n" +
		"3;3;Priority;use High, Normal or Low (or 3, 2, 1);;R2;Urgent;\"a;b\"\n" +
		"4;4;row;\"it has 2 values, the header names 3 columns; put a value that contains the separator into quotes, and keep the separators of empty values\";R3;x;;;\n" +
		"5;5;Reference;\"row 2 has the same; if this row is meant to be an item of its own, import it by itself with --content-keys\";;R1;;y\n"
	want = strings.Replace(want, ";R3;x;;;\n", ";\"R3;x\";;;\n", 1)
	if diff := cmp.Diff(want, readFile(t, rejected)); diff != "" {
		t.Errorf("rejects (-want +got):\n%s", diff)
	}

	mended := strings.NewReplacer("Urgent", "Low", `"R3;x";;;`, `"R3;x";R3;;x`).Replace(readFile(t, rejected))
	again := writeFile(t, filepath.Join(dir, "mended.csv"), mended)
	counts, r = i.importCSV(t, again, "--content-keys", "--rejects", filepath.Join(dir, "none.csv"))
	r.want(t, cli.ExitOK, "warning: row 2 and perhaps others have a Reference, \"R2\", that is not their key")
	checkCounts(t, counts, importResult{Complete: true, Read: 3, Published: 3})

	counts, r = i.importCSV(t, rejected, "--rejects", filepath.Join(dir, "still.csv"))
	r.want(t, cli.ExitRejects, "row 3 (line 3): row: it was rejected before and not mended", "key_conflict")
	checkCounts(t, counts, importResult{Complete: true, Read: 3, Rejected: 3})
}

func TestImportBreaksOff(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	file := writeFile(t, filepath.Join(t.TempDir(), "items.csv"), "Reference,A\nR1,x\nR2,bad,row\nR3,\"y\nR4,z\n")
	counts, r := i.importCSV(t, file)
	r.want(t, cli.ExitUsage, "items.csv: line 4: column A: the quote that opens here is never closed", "The 2 rows before it are done; mend the file and run this again, it adds the rest")
	checkCounts(t, counts, importResult{Read: 2, Published: 1, Rejected: 1})
	if diff := cmp.Diff([]string{"R1"}, keysOf(t, i.requests(t))); diff != "" {
		t.Errorf("published keys (-want +got):\n%s", diff)
	}
}

func TestImportStandardInput(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	rejected := filepath.Join(t.TempDir(), "out.csv")
	r := i.run(t, "A\tDeadline\nx\t2026-12-01\ny\tsoon\n", "csv", "-", "--queue", "invoices", "--timezone", "Europe/Vienna", "--rejects", rejected)
	r.want(t, cli.ExitRejects, "-: 2 rows read, 1 published, 0 already known, 1 rejected")
	if r.stdout != "" {
		t.Errorf("printed %q, want nothing: no data was asked for", r.stdout)
	}
	if got := readFile(t, rejected); !strings.Contains(got, "\tDeadline\tit is no date") {
		t.Errorf("rejects are %q", got)
	}
}

// An interrupted import finishes its batch, says how far it came, and adds the
// rest when it is run again.
func TestImportInterrupted(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	table, err := sheet.Open(ctx, strings.NewReader("Reference,A\nR1,x\nR2,y\nR3,z\n"), sheet.Options{Lane: typed})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := table.Close(); err != nil {
			t.Error(err)
		}
	}()
	imp := &importer{
		sheet: table, lane: typed, publisher: &publisher{Publisher: pipeline.NewPublisher(i.js, i.topology)}, batch: 2, rejects: &rejects{sheet: table},
		progress: &progress{w: writerFunc(func(line string) {
			if strings.HasPrefix(line, "publishing") && strings.Contains(line, "2 rows published") {
				cancel(&cli.SignalError{Signal: 2})
			}
		}), total: 2 * table.Size()},
	}
	err = imp.run(ctx)
	if _, ok := errors.AsType[*cli.SignalError](err); !ok || !strings.HasPrefix(err.Error(), "interrupted behind row 3; run it again, it adds the rest") {
		t.Errorf("error %v, want one that says how far it came", err)
	}
	checkCounts(t, imp.result, importResult{Read: 2, Published: 2})
	if diff := cmp.Diff([]string{"R1", "R2"}, keysOf(t, i.requests(t))); diff != "" {
		t.Errorf("published keys (-want +got):\n%s", diff)
	}
}

// A server that is started again in the middle costs nothing but time.
func TestImportSurvivesTheServer(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for a connection to be made again")
	}
	dir := t.TempDir()
	server, err := embedded.Start(embedded.Options{Listen: true, Port: -1, StoreDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}()
	address, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(address.Port())
	if err != nil {
		t.Fatal(err)
	}
	to := target{nats: cli.NATS{URL: server.URL()}, prefix: "uipath"}
	open, err := to.connect(t.Context(), t.Output(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer open.close()
	if err := pipeline.Provision(t.Context(), open.js, open.topology); err != nil {
		t.Fatal(err)
	}
	table, err := sheet.Open(t.Context(), strings.NewReader("Reference\nR1\nR2\nR3\n"), sheet.Options{Lane: typed})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := table.Close(); err != nil {
			t.Error(err)
		}
	}()
	restart := func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if server, err = embedded.Start(embedded.Options{Listen: true, Port: port, StoreDir: dir}); err != nil {
			t.Error(err)
		}
	}
	imp := &importer{
		sheet: table, lane: typed, publisher: open.publisher, batch: 1, rejects: &rejects{sheet: table},
		progress: &progress{w: writerFunc(func(line string) {
			if strings.Contains(line, " 1 rows published") {
				restart()
			}
		}), total: 2 * table.Size()},
	}
	if err := imp.run(t.Context()); err != nil {
		t.Error(err)
	}
	checkCounts(t, imp.result, importResult{Complete: true, Read: 3, Published: 3})
}

type writerFunc func(line string)

func (f writerFunc) Write(p []byte) (int, error) {
	f(string(p))
	return len(p), nil
}

func TestImportErrors(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	dir := t.TempDir()
	file := writeFile(t, filepath.Join(dir, "items.csv"), "Reference,A\nR1,x\n")
	for _, tt := range []struct {
		name string
		args []string
		code cli.Code
		says string
	}{
		{"no such file", []string{filepath.Join(dir, "none.csv")}, cli.ExitUsage, "none.csv: no such file"},
		{"rejects over the input", []string{file, "--rejects", file}, cli.ExitUsage, "is the file to import; name another"},
		{"no installation", []string{file, "--prefix", "other"}, cli.ExitUnreachable, "start a worker against this NATS server"},
		{"a prefix that is none", []string{file, "--prefix", "a.b"}, cli.ExitUsage, `prefix "a.b": use one subject token`},
		{"an empty tenant", []string{file, "--tenant", ""}, cli.ExitUsage, "tenant: give it a name, it is empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			i.run(t, "", append([]string{"csv", "--queue", "invoices"}, tt.args...)...).want(t, tt.code, tt.says)
		})
	}
}

// The examples must stay what the documents say of them.
func TestExamples(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	counts, r := i.importCSV(t, "../../examples/invoices.csv", "--rejects", filepath.Join(t.TempDir(), "rejected.csv"))
	r.want(t, cli.ExitRejects,
		`row 8 (line 8): Priority "Urgent"`,
		`row 14 (line 15): Deadline "2026-12-15 17:00": it has no time zone`,
		`row 18 (line 19): Reference "INV-2026-1005": row 6 has the same`,
		`row 23 (line 24): Reference "INV-2026-1036-`,
		`row 32 (line 33): Deadline "15.12.2026": it is no date`,
		`row 33 (line 34): Reference "INV-2026-1016": row 20 has the same`,
		`row 35 (line 36): row: it has 6 values`)
	checkCounts(t, counts, importResult{Complete: true, Read: 40, Published: 33, Rejected: 7})

	job := pipeline.Lane{Tenant: "Default", Folder: "-", Kind: pipeline.KindJob, Name: "Import"}
	for name, lane := range map[string]pipeline.Lane{"item.json": typed, "job.json": job} {
		request, err := pipeline.DecodeRequest([]byte(readFile(t, "../../examples/"+name)))
		if err := errors.Join(err, request.Validate(lane)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
