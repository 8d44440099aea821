package simulator

import (
	"encoding/base64"
	"encoding/binary"
	"maps"
	"net/http"
	"strconv"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
)

func encodePath(path string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(path)) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	return base64.StdEncoding.EncodeToString(b)
}

func TestFolderHeaders(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{})
	here := s.AddFolder(testFolder)
	other := s.AddFolder("Ärger/市場")
	id, otherID := strconv.FormatInt(here.ID, 10), strconv.FormatInt(other.ID, 10)
	const unknown = "11111111-2222-4333-8444-555555555555"

	for _, tt := range []struct {
		name   string
		header http.Header
		code   int // 0: the folder is Finance/Invoices, -1: it is the other
	}{
		{"none", http.Header{}, 1101},
		{"id", http.Header{headerFolderID: {id}}, 0},
		{"key", http.Header{headerFolderKey: {here.Key}}, 0},
		{"path", http.Header{headerFolderPath: {testFolder}}, 0},
		{"path in another case", http.Header{headerFolderPath: {"finance/INVOICES"}}, 0},
		{"encoded path", http.Header{headerFolderPathEncoded: {encodePath("Ärger/市場")}}, -1},
		{"unknown id", http.Header{headerFolderID: {"1"}}, 1100},
		{"no id", http.Header{headerFolderID: {"x"}}, 1100},
		{"unknown key", http.Header{headerFolderKey: {unknown}}, 1100},
		{"no key", http.Header{headerFolderKey: {"x"}}, 1100},
		{"unknown path", http.Header{headerFolderPath: {"Finance/Other"}}, 1100},
		{"path with slash at the end", http.Header{headerFolderPath: {testFolder + "/"}}, 1100},
		{"encoded path that is not", http.Header{headerFolderPathEncoded: {"%%"}}, 1100},
		{"encoded path of odd length", http.Header{headerFolderPathEncoded: {"QQ=="}}, 1100},
		{"encoded before path", http.Header{headerFolderPathEncoded: {encodePath("Ärger/市場")}, headerFolderPath: {testFolder}}, -1},
		{"path before key", http.Header{headerFolderPath: {testFolder}, headerFolderKey: {other.Key}}, 0},
		{"key before id", http.Header{headerFolderKey: {here.Key}, headerFolderID: {otherID}}, 0},
		{"a wrong one that counts", http.Header{headerFolderPath: {"Nowhere"}, headerFolderID: {id}}, 1100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, s)
			c.folder = ""
			maps.Copy(c.header, tt.header)
			if tt.code > 0 {
				if got := c.get(http.StatusBadRequest, "/odata/QueueDefinitions").code(t); got != tt.code {
					t.Errorf("errorCode: got %d, want %d", got, tt.code)
				}
				return
			}
			want := map[int]int{0: 2, -1: 0}[tt.code]
			if got := len(c.get(http.StatusOK, "/odata/QueueDefinitions").rows(t)); got != want {
				t.Errorf("queues: got %d, want %d", got, want)
			}
		})
	}
	c.folder = ""
	c.get(http.StatusOK, "/odata/Folders") // needs no folder
}

func TestFoldersByNameAndKey(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{})
	here := s.AddFolder(testFolder)
	if again := s.AddFolder("finance/invoices"); again != here {
		t.Errorf("added again: got %v, want %v", again, here)
	}
	for _, filter := range []string{
		"FullyQualifiedName eq 'Finance/Invoices'", "DisplayName eq 'Invoices'", "Key eq " + here.Key, "ParentId ne null",
	} {
		if got := c.list("Folders", filter, "FullyQualifiedName"); !cmp.Equal(got, []string{testFolder}) {
			t.Errorf("%s: got %v", filter, got)
		}
	}
	id := strconv.FormatInt(here.ID, 10)
	for _, path := range []string{
		"/odata/Folders(" + id + ")", "/odata/Folders/UiPath.Server.Configuration.OData.GetByKey(identifier=" + here.Key + ")",
	} {
		var got struct{ FullyQualifiedName string }
		if c.get(http.StatusOK, path).decode(t, &got); got.FullyQualifiedName != testFolder {
			t.Errorf("%s: got %q", path, got.FullyQualifiedName)
		}
	}
	c.get(http.StatusNotFound, "/odata/Folders(1)")
}

func TestRenumberFolders(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{Switches: Switches{UnknownFolderStatus: http.StatusForbidden}})
	before := s.AddFolder(testFolder)
	s.RenumberFolders()
	after := s.AddFolder(testFolder)
	if after.Key != before.Key || after.ID == before.ID {
		t.Errorf("got %v after %v, want the same key and another id", after, before)
	}
	c.folder = ""
	c.header.Set(headerFolderID, strconv.FormatInt(before.ID, 10))
	if got := c.get(http.StatusForbidden, "/odata/QueueItems").code(t); got != codeUnknownFolder {
		t.Errorf("errorCode of the old id: got %d, want %d", got, codeUnknownFolder)
	}
}

func TestFoldersForCurrentUser(t *testing.T) {
	t.Parallel()
	_, c := setup(t, Config{})
	var page userFolders
	c.get(http.StatusOK, "/api/Folders/GetAllForCurrentUser?take=1&skip=1").decode(t, &page)
	if page.Count != 2 || len(page.PageItems) != 1 || page.PageItems[0].FullyQualifiedName != testFolder {
		t.Errorf("got %+v", page)
	}
	if got := c.get(http.StatusBadRequest, "/api/Folders/GetAllForCurrentUser?take=101").code(t); got != codeInvalidArgument {
		t.Errorf("errorCode: got %d, want %d", got, codeInvalidArgument)
	}
}
