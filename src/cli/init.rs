//! `kumadb init` (written when its library part has landed)
