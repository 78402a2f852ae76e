//! What was typed becomes what is needed, and one room is called. No logic lives here.
