package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"
)

const (
	opFolder       = "look up folder"
	maxTop         = 1000 // entries a page holds at most, for most listings
	enoughToBeSure = 2    // enough to see that a name is not the only one
	folderAdvice   = "check the spelling, that the application or user behind the login is assigned to the folder, and that it may read folders (scope OR.Folders.Read)"
)

// FolderRef names a folder. Exactly one member is set; a key is the best, since
// ids change when a licence plan is migrated and paths when a folder is renamed.
type FolderRef struct {
	Path string // FullyQualifiedName, for example "Finance/Invoices"
	Key  string // GUID
	ID   int64
}

// Folder is an Orchestrator folder. The zero Folder in a call sends no folder
// header, for installations that have no folders.
type Folder struct {
	ID                 int64  `json:"Id"`
	Key                string `json:"Key"` // GUID; empty before 2020.10
	DisplayName        string `json:"DisplayName"`
	FullyQualifiedName string `json:"FullyQualifiedName"` // path from the top, with slashes
	Description        string `json:"Description"`
	FolderType         string `json:"FolderType"`
	ProvisionType      string `json:"ProvisionType"`
	PermissionModel    string `json:"PermissionModel"`
	ParentID           *int64 `json:"ParentId"`
	ParentKey          string `json:"ParentKey"`
}

func (f *Folder) missing() string {
	if f.ID == 0 {
		return "Id"
	}
	return ""
}

// Folder finds a folder and remembers it for some minutes. One that does not
// exist or is not visible to the login gives an error of kind Rejected that is
// ErrNotFound. It follows the page "Folders" of UiPath's API guide.
func (c *Client) Folder(ctx context.Context, ref FolderRef) (Folder, error) {
	if err := ref.validate(); err != nil {
		return Folder{}, rejected(opFolder, Reads, err, "")
	}
	return c.folders.get(ctx, opFolder, ref.String(), func(ctx context.Context) (Folder, error) {
		return c.findFolder(ctx, ref)
	})
}

// Folders lists the folders that the login can see.
func (c *Client) Folders(ctx context.Context, q Query) iter.Seq2[Folder, error] {
	return list[Folder](ctx, c, call{op: "list folders", class: Reads, path: "/odata/Folders"}, q, maxTop)
}

func (r FolderRef) validate() error {
	set := 0
	for _, is := range []bool{r.Path != "", r.Key != "", r.ID != 0} {
		if is {
			set++
		}
	}
	switch {
	case set != 1:
		return fmt.Errorf("folder reference has %d of Path, Key and ID: set exactly one", set)
	case r.ID < 0:
		return fmt.Errorf("folder ID %d is negative: give the folder's number", r.ID)
	case r.Key != "" && !isGUID(r.Key):
		return fmt.Errorf("folder key %q is no GUID: give one like db4528cc-7a3d-44f0-9df9-781fc07e9d8d", r.Key)
	case r.Path != "" && strings.Trim(r.Path, "/") != r.Path:
		return fmt.Errorf("folder path %q begins or ends with a slash: leave it off", r.Path)
	}
	return nil
}

// String names the folder as people speak of it. Paths and keys do not depend on
// case there.
func (r FolderRef) String() string {
	switch {
	case r.Key != "":
		return "key " + strings.ToLower(r.Key)
	case r.Path != "":
		return "path " + strings.ToLower(r.Path)
	}
	return "id " + strconv.FormatInt(r.ID, 10)
}

// reference is how to find the folder again when its id has changed.
func (f Folder) reference() FolderRef {
	switch {
	case f.Key != "":
		return FolderRef{Key: f.Key}
	case f.FullyQualifiedName != "":
		return FolderRef{Path: f.FullyQualifiedName}
	}
	return FolderRef{ID: f.ID}
}

func (c *Client) findFolder(ctx context.Context, ref FolderRef) (Folder, error) {
	if ref.Path != "" {
		return c.findFolderByPath(ctx, ref.Path)
	}
	path := entity("Folders", ref.ID)
	if ref.Key != "" {
		path = "/odata/Folders/UiPath.Server.Configuration.OData.GetByKey(identifier=" + ref.Key + ")"
	}
	var folder Folder
	err := c.do(ctx, call{op: opFolder, class: Reads, method: http.MethodGet, path: path, into: &folder})
	if errors.Is(err, ErrNotFound) {
		return Folder{}, rejected(opFolder, Reads, err, "no folder with %s: %s", ref, folderAdvice)
	}
	if err != nil {
		return Folder{}, err
	}
	return folder, nil
}

func (c *Client) findFolderByPath(ctx context.Context, path string) (Folder, error) {
	folder, err := findByName("FullyQualifiedName", opFolder, path, func(f Folder) string { return f.FullyQualifiedName },
		func(q Query) iter.Seq2[Folder, error] { return c.Folders(ctx, q) })
	return folder, namedError(err, opFolder, "folder", path, folderAdvice)
}

// currentFolderID is the id to send: the newest known for the folder's key or
// path, for a caller may hold a Folder from before its id changed.
func (c *Client) currentFolderID(folder Folder) int64 {
	if folder.ID == 0 {
		return 0
	}
	if newest, ok := c.folders.peek(folder.reference().String()); ok {
		return newest.ID
	}
	return folder.ID
}

// doInMovedFolder repeats a call that was refused because of its folder's id,
// if the folder has another id by now.
func (c *Client) doInMovedFolder(ctx context.Context, cl call, id int64, refused *Error) *Error {
	moved := c.currentFolderID(cl.folder)
	if moved == id { // else another call has found the new id meanwhile
		c.folders.forgetAll()
		folder, err := c.Folder(ctx, cl.folder.reference())
		if e, ok := errors.AsType[*Error](err); ok && e.Kind != Rejected {
			return e.during(cl.op) // whether the folder moved is not known yet
		}
		moved = folder.ID
	}
	if moved == id || moved == 0 {
		refused.Err = errors.New(folderAdvice)
		return refused
	}
	return c.retry(ctx, cl, moved)
}

// isGUID checks the form 8-4-4-4-12, which goes unquoted into paths and filters.
func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, r := range s {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if r != '-' {
				return false
			}
		case !strings.ContainsRune("0123456789abcdefABCDEF", r):
			return false
		}
	}
	return true
}

var errSeveral = errors.New("more than one has this name")

// findByName finds the entry with a name, which does not depend on case. Whether a
// filter does goes by the database behind it; so where it finds nothing, all are
// looked through.
func findByName[T any, P interface {
	*T
	answerBody
}](member, op, name string, nameOf func(T) string, list func(Query) iter.Seq2[T, error],
) (T, error) {
	entry, err := theOne[T, P](list(Query{Filter: Eq(member, name), Limit: enoughToBeSure}), op, name, nameOf)
	if err == ErrNotFound { //nolint:errorlint // theOne's own word, not an answer that is ErrNotFound too
		return theOne[T, P](list(Query{}), op, name, nameOf)
	}
	return entry, err
}

// theOne picks the entry with a name from what a server found for it. Servers
// compare without regard to case; one that is spelled the same is meant first.
// It must have what it is needed for: a call in a folder without its id would
// be one in no folder at all.
func theOne[T any, P interface {
	*T
	answerBody
}](found iter.Seq2[T, error], op, name string, nameOf func(T) string,
) (T, error) {
	entry, err := pick(found, name, nameOf)
	if lacks := P(&entry).missing(); err == nil && lacks != "" {
		return entry, &Error{Op: op, Kind: Transient, Class: Reads, Message: fmt.Sprintf("the answer has %q without its %s", name, lacks)}
	}
	return entry, err
}

func pick[T any](found iter.Seq2[T, error], name string, nameOf func(T) string) (T, error) {
	var none T
	var same, similar []T
	for entry, err := range found {
		switch {
		case err != nil:
			return none, err
		case nameOf(entry) == name:
			same = append(same, entry)
		case strings.EqualFold(nameOf(entry), name):
			similar = append(similar, entry)
		}
	}
	switch {
	case len(same) == 1:
		return same[0], nil
	case len(same) == 0 && len(similar) == 1:
		return similar[0], nil
	case len(same)+len(similar) == 0:
		return none, ErrNotFound
	}
	return none, errSeveral
}

// namedError says what a look-up by name was after, when it did not find it.
func namedError(err error, op, what, name, advice string) error {
	switch {
	case err == nil:
		return nil
	case err == ErrNotFound: //nolint:errorlint // theOne's own word, not an answer that is ErrNotFound too
		return rejected(op, Reads, err, "no %s %q: %s", what, name, advice)
	case errors.Is(err, errSeveral):
		return rejected(op, Reads, err, "%s %q is not clear: spell it as Orchestrator does, and where two are spelled alike rename one", what, name)
	}
	return err
}
