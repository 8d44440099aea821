package simulator

import (
	"encoding/base64"
	"encoding/binary"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/google/uuid"
)

// Folder names a folder in every way that the API accepts.
type Folder struct {
	ID   int64
	Key  string // a GUID
	Path string // the fully qualified name, as "Finance/Invoices"
}

type folder struct {
	id     int64
	key    uuid.UUID
	name   string
	path   string
	parent *folder // nil at the top

	queues          []*queue
	releases        []*release
	robots          []*robotUser
	machines        []*machine
	jobs            []*job // in the order of creation
	jobsByReference map[string][]*job
}

// AddFolder makes a folder and those above it, as far as they are missing, and returns it.
func (s *Server) AddFolder(fullyQualifiedName string) Folder {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.tenant.addFolder(fullyQualifiedName)
	return Folder{ID: f.id, Key: f.key.String(), Path: f.path}
}

// RenumberFolders gives every folder a new id, as a change of the licence plan does. Keys and paths stay.
func (s *Server) RenumberFolders() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.tenant.folders {
		f.id = s.tenant.folderIDs.next()
	}
}

func (t *tenant) addFolder(path string) *folder {
	path = strings.Trim(path, "/")
	if f := t.folderByPath(path); f != nil {
		return f
	}
	f := &folder{name: path, path: path, jobsByReference: make(map[string][]*job)}
	if slash := strings.LastIndexByte(path, '/'); slash >= 0 {
		f.parent = t.addFolder(path[:slash])
		f.name = path[slash+1:]
	}
	f.id, f.key = t.folderIDs.next(), t.mint.guid()
	t.folders = append(t.folders, f)
	return f
}

// The headers that name the folder of a call.
const (
	headerFolderID          = "X-Uipath-Organizationunitid"
	headerFolderPath        = "X-Uipath-Folderpath"
	headerFolderPathEncoded = "X-Uipath-Folderpath-Encoded"
	headerFolderKey         = "X-Uipath-Folderkey"
)

// folderOf finds the folder of a call: the encoded path counts before the path, that before the key, that before the id.
func (t *tenant) folderOf(h http.Header, unknownStatus int) (*folder, *refusal) {
	var f *folder
	switch {
	case h.Get(headerFolderPathEncoded) != "":
		f = t.folderByPath(decodePath(h.Get(headerFolderPathEncoded)))
	case h.Get(headerFolderPath) != "":
		f = t.folderByPath(h.Get(headerFolderPath))
	case h.Get(headerFolderKey) != "":
		f = t.folderByKey(h.Get(headerFolderKey))
	case h.Get(headerFolderID) != "":
		f = t.folderByID(h.Get(headerFolderID))
	default:
		return nil, errFolderRequired
	}
	if f == nil {
		return nil, unknownFolder(unknownStatus)
	}
	return f, nil
}

func unknownFolder(status int) *refusal {
	return &refusal{
		status: status, code: codeUnknownFolder,
		message: "Folder does not exist or the user does not have access to the folder.",
	}
}

func (t *tenant) folderByPath(path string) *folder {
	return t.findFolder(func(f *folder) bool { return strings.EqualFold(f.path, path) })
}

func (t *tenant) folderByKey(text string) *folder {
	key, err := uuid.Parse(text)
	if err != nil {
		return nil
	}
	return t.findFolder(func(f *folder) bool { return f.key == key })
}

func (t *tenant) folderByID(text string) *folder {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil
	}
	return t.findFolder(func(f *folder) bool { return f.id == id })
}

func (t *tenant) findFolder(match func(*folder) bool) *folder {
	if i := slices.IndexFunc(t.folders, match); i >= 0 {
		return t.folders[i]
	}
	return nil
}

// decodePath reads Base64 over UTF-16LE. What is not that names no folder.
func decodePath(encoded string) string {
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(b)%2 != 0 {
		return ""
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

type folderEntity struct {
	Key                         string  `json:"Key"`
	DisplayName                 string  `json:"DisplayName"`
	FullyQualifiedName          string  `json:"FullyQualifiedName"`
	FullyQualifiedNameOrderable string  `json:"FullyQualifiedNameOrderable"`
	Description                 *string `json:"Description"`
	FolderType                  string  `json:"FolderType"`
	IsPersonal                  bool    `json:"IsPersonal"`
	ProvisionType               string  `json:"ProvisionType"`
	PermissionModel             string  `json:"PermissionModel"`
	ParentID                    *int64  `json:"ParentId"`
	ParentKey                   *string `json:"ParentKey"`
	IsActive                    bool    `json:"IsActive"`
	FeedType                    string  `json:"FeedType"`
	ID                          int64   `json:"Id"`
}

func (f *folder) parentID() int64 {
	if f.parent == nil {
		return 0
	}
	return f.parent.id
}

func (f *folder) parentKey() uuid.UUID {
	if f.parent == nil {
		return uuid.Nil
	}
	return f.parent.key
}

func (f *folder) entity() folderEntity {
	return folderEntity{
		Key:                         f.key.String(),
		DisplayName:                 f.name,
		FullyQualifiedName:          f.path,
		FullyQualifiedNameOrderable: f.path,
		FolderType:                  "Standard",
		ProvisionType:               "Automatic",
		PermissionModel:             "FineGrained",
		ParentID:                    idOrNull(f.parentID()),
		ParentKey:                   guidOrNull(f.parentKey()),
		IsActive:                    true,
		FeedType:                    "Processes",
		ID:                          f.id,
	}
}

var folderSet = collection[*folder]{
	name: "Folders",
	fields: map[string]field[*folder]{
		"id":                 numberField(func(f *folder) int64 { return f.id }),
		"key":                guidField(func(f *folder) uuid.UUID { return f.key }),
		"displayname":        textField(func(f *folder) string { return f.name }),
		"fullyqualifiedname": textField(func(f *folder) string { return f.path }),
		"parentid":           optionalField((*folder).parentID),
		"parentkey":          guidField((*folder).parentKey),
	},
	entity: func(f *folder, _ []string) any { return f.entity() },
	rules:  generalRules,
}

func generalRules(cfg *Config) collectionRules { return collectionRules{maxTop: cfg.MaxTop} }

func (s *Server) listFolders(c *call) (answer, *refusal) {
	return list(s, c, folderSet, func(node) iter.Seq[*folder] { return slices.Values(s.tenant.folders) })
}

func (s *Server) getFolder(c *call) (answer, *refusal) {
	return s.oneFolder(c, s.tenant.folderByID(c.argument))
}

func (s *Server) getFolderByKey(c *call) (answer, *refusal) {
	return s.oneFolder(c, s.tenant.folderByKey(strings.TrimPrefix(c.argument, "identifier=")))
}

func (s *Server) oneFolder(c *call, f *folder) (answer, *refusal) {
	if f == nil {
		return answer{}, notFound("Folder does not exist.")
	}
	return single(s, c, folderSet, f)
}

type userFolders struct {
	PageItems []userFolder `json:"PageItems"`
	Count     int          `json:"Count"`
}

type userFolder struct {
	Key                string  `json:"Key"`
	DisplayName        string  `json:"DisplayName"`
	FullyQualifiedName string  `json:"FullyQualifiedName"`
	Description        *string `json:"Description"`
	FolderType         string  `json:"FolderType"`
	ParentID           *int64  `json:"ParentId"`
	ParentKey          *string `json:"ParentKey"`
	ID                 int64   `json:"Id"`
}

// listFoldersForUser pages with take and skip instead of OData's options.
func (s *Server) listFoldersForUser(c *call) (answer, *refusal) {
	take, skip := 100, 0
	query := c.r.URL.Query()
	for name, target := range map[string]*int{"take": &take, "skip": &skip} {
		if text := query.Get(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 || n > 100 {
				return answer{}, invalidArgument("The field " + name + " must be between 0 and 100")
			}
			*target = n
		}
	}
	folders := s.tenant.folders
	body := userFolders{PageItems: []userFolder{}, Count: len(folders)}
	folders = folders[min(skip, len(folders)):]
	for _, f := range folders[:min(take, len(folders))] {
		body.PageItems = append(body.PageItems, userFolder{
			Key: f.key.String(), DisplayName: f.name, FullyQualifiedName: f.path, FolderType: "Standard",
			ParentID: idOrNull(f.parentID()), ParentKey: guidOrNull(f.parentKey()), ID: f.id,
		})
	}
	return answer{status: http.StatusOK, body: body}, nil
}
