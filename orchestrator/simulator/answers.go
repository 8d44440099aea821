package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
)

// answer is a success. A nil body means none.
type answer struct {
	status   int
	location string
	body     any
}

func (s *Server) respond(w http.ResponseWriter, c *call, a answer, err *refusal) {
	if err != nil {
		s.writeRefusal(w, err)
		return
	}
	if a.location != "" {
		w.Header().Set("Location", c.target.base(c.r)+a.location)
	}
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; odata.metadata=minimal; odata.streaming=true")
	h.Set("OData-Version", "4.0")
	h.Set("Api-Supported-Versions", "20.0")
	h.Set("Cache-Control", "no-store, must-revalidate, no-cache")
	s.writeJSON(w, a.status, a.body)
}

func (s *Server) writeRefusal(w http.ResponseWriter, err *refusal) {
	s.log.Debug("refused", "status", err.status, "code", err.code)
	if err.status == http.StatusUnauthorized && s.cfg.EmptyBody401 && err.shape == shapeEnvelope {
		w.WriteHeader(err.status)
		return
	}
	s.writeJSON(w, err.status, err.body(s.mint.traceID()))
}

// writeJSON leaves <, > and & as they are, as Orchestrator does.
func (s *Server) writeJSON(w http.ResponseWriter, status int, body any) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil {
		s.log.Error("answer cannot be encoded", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
	}
	s.write(w, status, bytes.TrimSuffix(buffer.Bytes(), []byte("\n")))
}

func (s *Server) writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain")
	s.write(w, status, []byte(text))
}

func (s *Server) writeHTML(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	s.write(w, http.StatusOK, []byte("<!DOCTYPE html><html><head><title>Automation</title></head><body>Loading</body></html>"))
}

func (s *Server) write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("X-Correlation-Id", s.mint.guid().String())
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
		s.log.Debug("caller has hung up", "error", err)
	}
}
