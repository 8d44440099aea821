package simulator

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
)

// maxBody is the most that a request may carry, in bytes.
const maxBody = 32 << 20

// decode reads the body of a call into v, the parameter of that name. What does not fit becomes a null parameter.
func (s *Server) decode(c *call, name string, v any) *refusal {
	body, err := io.ReadAll(io.LimitReader(c.r.Body, maxBody+1))
	if err != nil {
		return nullParameter(name)
	}
	if len(body) > maxBody {
		return &refusal{status: http.StatusRequestEntityTooLarge, message: "The request is too large."}
	}
	if err := s.unmarshal(body, v); err != nil {
		return nullParameter(name)
	}
	return nil
}

func (s *Server) unmarshal(body []byte, v any) error {
	if !s.cfg.RefuseUnknownMembers {
		return json.Unmarshal(body, v) //nolint:wrapcheck // the caller learns no more than that it failed
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	return decoder.Decode(v) //nolint:wrapcheck // the caller learns no more than that it failed
}
