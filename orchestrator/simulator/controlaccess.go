package simulator

import (
	"errors"
	"io"
	"net/http"
)

// controlTokens tells counts alone: a token is nobody's business but its owner's.
func (s *Server) controlTokens(*http.Request) (int, any, error) {
	return http.StatusOK, s.TokenCounts(), nil
}

func (s *Server) controlRevoke(r *http.Request) (int, any, error) {
	var b struct {
		Refresh bool `json:"refresh"`
	}
	if err := decodeControl(r, &b); err != nil && !errors.Is(err, io.EOF) { // a body is not needed
		return 0, nil, err
	}
	s.RevokeTokens()
	if b.Refresh {
		s.RevokeRefreshTokens()
	}
	return http.StatusNoContent, nil, nil
}

type deniedBody struct {
	Operations []string `json:"operations"`
}

func (s *Server) controlDenied(*http.Request) (int, any, error) {
	return http.StatusOK, deniedBody{Operations: append([]string{}, s.permissions.current()...)}, nil
}

func (s *Server) controlSetDenied(r *http.Request) (int, any, error) {
	var b deniedBody
	if err := decodeControl(r, &b); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, s.Deny(b.Operations...)
}
