mod books;
mod index;
mod recall;
