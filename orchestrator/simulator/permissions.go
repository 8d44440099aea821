package simulator

import (
	"fmt"
	"slices"
	"sync"
)

// permissions are what roles in Orchestrator take away, whatever the scopes of a token.
type permissions struct {
	mu     sync.Mutex
	denied []string // names of operations
}

func (p *permissions) set(operations []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.denied = slices.Clone(operations)
}

func (p *permissions) current() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.denied)
}

func (p *permissions) deny(operation string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.denied, operation)
}

// Deny takes the permission for these operations away, by the API's names of them as in Hold, and gives back that for
// all others. Calls to them get 403. Names that the API does not have are refused.
func (s *Server) Deny(operations ...string) error {
	if err := validateOperations(operations); err != nil {
		return err
	}
	s.permissions.set(operations)
	return nil
}

func validateOperations(names []string) error {
	for _, name := range names {
		if !isOperation(name) {
			return fmt.Errorf("operation %q: give the API's name of one, as \"StartJobs\"", name)
		}
	}
	return nil
}

func isOperation(name string) bool {
	for _, op := range operations {
		if op.name == name {
			return true
		}
	}
	return false
}
