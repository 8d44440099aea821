package simulator

import "net/http"

type controlledHolds struct{}

func (s *Server) control() http.Handler { return http.NotFoundHandler() }
